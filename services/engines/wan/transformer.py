"""Wan's transformer: noisy latents, their noise level and a text become a velocity.

Modules have the names that diffusers' files use; ``key_map`` has Wan's own. A clip's tokens are rows: there
is no batch. ``fused`` computes the same with FP8 products.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bootstrap.errors import KitError
from services.engines.kernels import ops
from services.engines.weights.linear import LayerNorm, Linear, RmsNorm

Rotation = tuple[Tensor, Tensor]  # cosines and sines, float32 [rows, head / 2]
Grid = tuple[int, int, int]  # frames, height and width in tokens
ROTATION_BASE = 10000.0


class Attention(nn.Module):
    """Of rows to themselves, with rotation, or to those of a context."""

    def __init__(self, width: int, head: int, eps: float) -> None:
        super().__init__()
        self.head = head
        self.to_q, self.to_k, self.to_v = (Linear(width, width) for _ in range(3))
        self.to_out: Any = nn.ModuleList([Linear(width, width)])
        self.norm_q, self.norm_k = (RmsNorm(width, eps) for _ in range(2))

    def forward(self, x: Tensor, context: Tensor, rotation: Rotation | None = None) -> Tensor:
        q, k, v = self.norm_q(self.to_q(x)), self.norm_k(self.to_k(context)), self.to_v(context)
        if rotation is not None:
            q = ops.rotate(q, *rotation, self.head)
            k = ops.rotate(k, *rotation, self.head)
        out: Tensor = self.to_out[0](ops.attend(q, k, v, self.head))
        return out


class FeedForward(nn.Module):
    def __init__(self, width: int, middle: int) -> None:
        super().__init__()
        self.net = nn.ModuleDict(
            {"0": nn.ModuleDict({"proj": Linear(width, middle)}), "2": Linear(middle, width)}
        )

    @property
    def up(self) -> Any:
        return self.net["0"].get_submodule("proj")

    @property
    def down(self) -> Any:
        return self.net["2"]

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down(F.gelu(self.up(x), approximate="tanh"))
        return out


class Block(nn.Module):
    scale_shift_table: Tensor  # [1, 6, width]

    def __init__(self, width: int, head: int, middle: int, eps: float, *, cross_norm: bool) -> None:
        super().__init__()
        self.eps = eps
        self.register_buffer("scale_shift_table", torch.empty(1, 6, width, device="meta"))
        self.attn1, self.attn2 = (Attention(width, head, eps) for _ in range(2))
        self.norm2 = LayerNorm(width, eps) if cross_norm else None
        self.ffn = FeedForward(width, middle)

    def forward(self, x: Tensor, text: Tensor, moves: Tensor, rotation: Rotation) -> Tensor:
        """``x`` [rows, width], ``text`` [tokens, width], ``moves`` [1 or rows, 6, width]."""
        table = self.scale_shift_table + moves.float()
        shift, scale, gate, ffn_shift, ffn_scale, ffn_gate = table.unbind(1)
        normed = moved(x, scale, shift, self.eps)
        attended = self.attn1(normed, normed, rotation)  # before x grows to float32
        x = (x.float() + attended * gate).to(x.dtype)
        del attended
        normed = x if self.norm2 is None else self.norm2(x.float()).to(x.dtype)
        x = x + self.attn2(normed, text)
        normed = moved(x, ffn_scale, ffn_shift, self.eps)
        fed: Tensor = self.ffn(normed)
        return (x.float() + fed.float() * ffn_gate).to(x.dtype)


class TwoLayers(nn.Module):
    def __init__(self, inner: int, outer: int, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.linear_1, self.linear_2 = Linear(inner, outer), Linear(outer, outer)
        self._activation = activation

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.linear_2(self._activation(self.linear_1(x)))
        return out


class Embedder(nn.Module):
    """Of noise levels and of the text."""

    def __init__(self, width: int, waves: int, text_width: int) -> None:
        super().__init__()
        self.waves = waves
        self.time_embedder = TwoLayers(waves, width, F.silu)
        self.time_proj = Linear(width, 6 * width)
        self.text_embedder = TwoLayers(text_width, width, _gelu)

    def time_waves(self, times: Tensor) -> Tensor:
        """[n] to float32 [n, waves]: cosines, then sines."""
        half = self.waves // 2
        exponents = -math.log(10000) * torch.arange(half, dtype=torch.float32, device=times.device) / half
        angles = times[:, None].float() * torch.exp(exponents)[None]
        return torch.cat([torch.cos(angles), torch.sin(angles)], dim=-1)

    def forward(self, times: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """[n] to embeddings [n, width] and what they add to a block's six vectors [n, 6, width]."""
        embedded = self.time_embedder(self.time_waves(times)).to(dtype)
        moves: Tensor = self.time_proj(F.silu(embedded)).unflatten(1, (6, -1))
        return embedded, moves


class PatchEmbedding(nn.Module):
    weight: Tensor  # [width, channels, *patch]
    bias: Tensor  # [width]

    def __init__(self, channels: int, width: int, patch: Grid) -> None:
        super().__init__()
        self.register_buffer("weight", torch.empty(width, channels, *patch, device="meta"))
        self.register_buffer("bias", torch.empty(width, device="meta"))

    def forward(self, latents: Tensor) -> tuple[Tensor, Grid]:
        """[1, channels, frames, h, w] to rows [tokens, width] and the grid they lie on."""
        patch = self.weight.shape[2:]
        patched = F.conv3d(latents.to(self.weight.dtype), self.weight, self.bias, stride=tuple(patch))[0]
        frames, height, width = patched.shape[1:]
        return patched.flatten(1).t().contiguous(), (frames, height, width)


class Transformer(nn.Module):
    """Without a tensor in memory, until ``linear.bind`` puts them in place."""

    scale_shift_table: Tensor  # [1, 2, width]

    def __init__(self, config: Mapping[str, Any]) -> None:
        """``config`` is diffusers' of ``WanTransformer3DModel``.

        Raises:
            KitError: the model wants an image encoder, as Wan 2.1's image models do.
        """
        super().__init__()
        if config.get("image_dim") is not None or config.get("added_kv_proj_dim") is not None:
            raise KitError(
                "the model's config names an image encoder, which the kit does not have",
                fix="use a Wan 2.2 model",
            )
        self.head: int = config["attention_head_dim"]
        self.eps: float = config["eps"]
        frames, height, across = config["patch_size"]
        self.patch: Grid = (frames, height, across)
        width = self.head * config["num_attention_heads"]
        self.patch_embedding = PatchEmbedding(config["in_channels"], width, self.patch)
        self.condition_embedder = Embedder(width, config["freq_dim"], config["text_dim"])
        self.blocks: Any = nn.ModuleList(
            Block(width, self.head, config["ffn_dim"], self.eps, cross_norm=config["cross_attn_norm"])
            for _ in range(config["num_layers"])
        )
        self.proj_out = Linear(width, config["out_channels"] * math.prod(self.patch))
        self.register_buffer("scale_shift_table", torch.empty(1, 2, width, device="meta"))

    def forward(
        self,
        latents: Tensor,
        timestep: Tensor,
        text: Tensor,
        enter: Callable[[int], None],
        leave: Callable[[int], None],
    ) -> Tensor:
        """Velocity [1, channels, frames, h, w], float32, of latents [1, channels, frames, h, w].

        ``timestep`` is [1], or [1, tokens]; ``text`` [1, tokens, width]. ``enter`` and ``leave`` are called
        around block number n, whose tensors are in place between the two.
        """
        x, grid = self.patch_embedding(latents)
        turns = rotation(self.head, grid, x.device)
        embedded, moves = self.condition_embedder(timestep.flatten(), x.dtype)
        context = self.condition_embedder.text_embedder(text[0].to(x.dtype))
        for number, block in enumerate(self.blocks):
            enter(number)
            x = block(x, context, moves, turns)
            leave(number)
        shift, scale = (self.scale_shift_table + embedded[:, None]).unbind(1)
        return self.unpatch(self.proj_out(moved(x, scale, shift, self.eps)), grid).float()

    def unpatch(self, rows: Tensor, grid: Grid) -> Tensor:
        """[tokens, channels of a patch] to [1, channels, frames, h, w]."""
        out = rows.reshape(*grid, *self.patch, -1).permute(6, 0, 3, 1, 4, 2, 5)
        return out.reshape(1, -1, *(count * size for count, size in zip(grid, self.patch, strict=True)))


def moved(x: Tensor, scale: Tensor, shift: Tensor, eps: float) -> Tensor:
    """The layer norm of each row, scaled from 1 and shifted in float32."""
    return (F.layer_norm(x.float(), x.shape[1:], eps=eps) * (1 + scale) + shift).to(x.dtype)


@lru_cache(maxsize=2)
def rotation(head: int, grid: Grid, device: torch.device) -> Rotation:
    """Of all tokens of a grid: a part of each head turns by the frame, one by the row, one by the column."""
    side = 2 * (head // 6)
    cosines, sines = [], []
    for axis, width in enumerate((head - 2 * side, side, side)):
        speeds = 1.0 / ROTATION_BASE ** (torch.arange(0, width, 2, dtype=torch.float64) / width)
        angles = torch.outer(torch.arange(grid[axis]), speeds)
        view = [1, 1, 1, -1]
        view[axis] = grid[axis]
        cosines.append(angles.cos().float().view(view).expand(*grid, -1))
        sines.append(angles.sin().float().view(view).expand(*grid, -1))
    return tuple(torch.cat(parts, -1).flatten(0, 2).to(device) for parts in (cosines, sines))  # type: ignore[return-value]


def _gelu(x: Tensor) -> Tensor:
    return F.gelu(x, approximate="tanh")
