"""One forward of ``Transformer`` with FP8 products, and what lies between the products fused.

``services.engines.kernels.ops`` says what each fused step computes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from services.engines.kernels import ops
from services.engines.wan import transformer
from services.engines.wan.transformer import Block, Embedder, FeedForward, Grid, Transformer
from services.engines.weights import fp8_linear
from services.engines.weights.fp8_linear import Fp8Linear

ROWS_AT_ONCE = 32768  # of the feed-forward's wide middle and of the head
SHIFT, SCALE, GATE, FFN_SHIFT, FFN_SCALE, FFN_GATE = range(6)


def forward(
    model: Transformer,
    latents: Tensor,
    timestep: Tensor,
    text: Tensor,
    enter: Callable[[int], None],
    leave: Callable[[int], None],
) -> Tensor:
    """Velocity [1, channels, frames, h, w], float32.

    ``timestep`` is [1], or [1, tokens] with at most two values: the first frame's and the others'. ``enter``
    and ``leave`` are called around block number n, whose tensors are in place between the two.
    """
    x, grid = model.patch_embedding(latents)
    rows = len(x)
    cosines, sines = transformer.rotation(model.head, grid, x.device)
    split = rows if timestep.ndim == 1 else rows // grid[0]
    times = timestep.expand(2) if timestep.ndim == 1 else torch.stack([timestep[0, 0], timestep[0, -1]])
    embedded, moves = _time(model.condition_embedder, times)
    context = model.condition_embedder.text_embedder(text.to(x.dtype))[0]
    words = ops.quantise(context)

    branch: Tensor | None = None
    gate: Tensor | None = None
    for number, block in enumerate(model.blocks):
        enter(number)
        move = block.scale_shift_table[0][:, None] + moves  # [6, 2, width]
        branch = _block(block, x, branch, gate, move, words, cosines, sines, split, model.head)
        gate = move[FFN_GATE]
        leave(number)
    if branch is not None and gate is not None:
        ops.add(x, branch, gate, split)
    return _head(model, x, embedded, split, grid)


def _block(
    block: Block,
    x: Tensor,
    branch: Tensor | None,
    gate: Tensor | None,
    move: Tensor,
    words: tuple[Tensor, Tensor],
    cosines: Tensor,
    sines: Tensor,
    split: int,
    head: int,
) -> Tensor:
    """Adds what was left to add, and returns the feed-forward's output, to be added by whoever comes next."""
    own, cross, eps = block.attn1, block.attn2, block.eps
    codes = ops.add_norm_quantise(x, branch, gate, move[SCALE], move[SHIFT], split, eps)
    qkv = _together((own.to_q, own.to_k, own.to_v), codes)
    weights = torch.stack([own.norm_q.weight, own.norm_k.weight])
    attended = ops.self_attention(qkv, weights, cosines, sines, head, own.norm_q.eps, narrow=True)
    del qkv
    branch = _linear(own.to_out[0], ops.quantise(attended))

    norm = block.norm2  # affine, or absent
    ones, zeros = (norm.weight, norm.bias) if norm is not None else _neutral(x)
    ones, zeros = (vector[None].expand(2, -1).contiguous() for vector in (ones, zeros))
    codes = ops.add_norm_quantise(x, branch, move[GATE], ones, zeros, split, eps)
    query = ops.rms_norm(_linear(cross.to_q, codes), cross.norm_q.weight, cross.norm_q.eps)
    key, value = _together((cross.to_k, cross.to_v), words).chunk(2, dim=1)
    key = ops.rms_norm(key.contiguous(), cross.norm_k.weight, cross.norm_k.eps)
    branch = _linear(cross.to_out[0], ops.quantise(ops.attend(query, key, value, head)))

    codes = ops.add_norm_quantise(x, branch, None, move[FFN_SCALE], move[FFN_SHIFT], split, eps)
    return _feed(block.ffn, *codes)


def _feed(ffn: FeedForward, codes: Tensor, scales: Tensor) -> Tensor:
    """In pieces of the rows when there are many: the middle is almost three times as wide."""
    parts = [
        _linear(ffn.down, ops.quantise(_linear(ffn.up, piece), gelu=True))
        for piece in zip(torch.split(codes, ROWS_AT_ONCE), torch.split(scales, ROWS_AT_ONCE), strict=True)
    ]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _linear(layer: Any, codes: tuple[Tensor, Tensor]) -> Tensor:
    return fp8_linear.multiply(*codes, layer.codes, layer.scale, layer.bias)


def _together(layers: tuple[Any, ...], codes: tuple[Tensor, Tensor]) -> Tensor:
    """Layers of one input as one product; their tensors lie side by side in the block's buffer."""
    bias = [layer.bias for layer in layers if layer.bias is not None]
    return fp8_linear.multiply(
        *codes,
        side_by_side([layer.codes for layer in layers]),
        side_by_side([layer.scale for layer in layers]),
        side_by_side(bias) if bias else None,
    )


def side_by_side(tensors: list[Tensor]) -> Tensor:
    """One tensor [sum of lengths, ...] of several: a view where they follow each other in one buffer."""
    first, total = tensors[0], sum(len(tensor) for tensor in tensors)
    buffer, at = first.untyped_storage().data_ptr(), first.data_ptr()
    for tensor in tensors:
        # Two allocations can lie next to each other by chance: a view must stay inside of one.
        if tensor.data_ptr() != at or tensor.untyped_storage().data_ptr() != buffer:
            return torch.cat(tensors)
        at += tensor.nbytes
    return first.as_strided((total, *first.shape[1:]), first.stride())


def _time(embedder: Embedder, times: Tensor) -> tuple[Tensor, Tensor]:
    """Embedding [2, width], and what it adds to a block's six vectors [6, 2, width]; scales from 1."""
    waves = embedder.time_waves(times)
    embedded = _wide(embedder.time_embedder.linear_2, F.silu(_wide(embedder.time_embedder.linear_1, waves)))
    moves = _wide(embedder.time_proj, F.silu(embedded)).reshape(2, 6, -1).transpose(0, 1).contiguous()
    moves[SCALE] += 1
    moves[FFN_SCALE] += 1
    return embedded, moves


def _head(model: Transformer, x: Tensor, embedded: Tensor, split: int, grid: Grid) -> Tensor:
    shift, scale = (model.scale_shift_table[0][:, None] + embedded[None]).unbind(0)  # [2, width] each
    parts = []
    for start in range(0, len(x), ROWS_AT_ONCE):
        rows = x[start : start + ROWS_AT_ONCE]
        which = (torch.arange(start, start + len(rows), device=x.device) >= split).long()
        normed = F.layer_norm(rows.float(), rows.shape[1:], eps=model.eps)
        parts.append(_wide(model.proj_out, normed * (1 + scale[which]) + shift[which]))
    return model.unpatch(torch.cat(parts), grid)


def _wide(layer: Any, x: Tensor) -> Tensor:
    """A layer outside the blocks, in float32 as far as its weight allows."""
    if isinstance(layer, Fp8Linear):
        return layer.forward(x)
    return F.linear(x.to(layer.weight.dtype), layer.weight, layer.bias).float()


def _neutral(x: Tensor) -> tuple[Tensor, Tensor]:
    return x.new_ones(x.shape[1], dtype=torch.float32), x.new_zeros(x.shape[1], dtype=torch.float32)
