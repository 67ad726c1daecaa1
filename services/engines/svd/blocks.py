"""SVD's two building blocks, resnet and transformer, each first over space and then over time.

They take their weights over from ``services.engines.svd.modules``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from services.engines.svd import ops
from services.engines.svd.modules import time_embedding, transformer, vae
from services.engines.svd.modules.residual import SpatioTemporalResBlock, TimeMixer
from services.engines.svd.ops import Norm
from services.engines.svd.statistics import Stats


@dataclass
class Clip:
    """What stays the same through all steps of one clip."""

    frames: int
    embedding: Tensor  # [batch, 1, cross_attention_dim]
    rows_at_once: int | None = None  # of a feed-forward layer; fewer rows take less memory
    constants: dict[nn.Module, list[Constants]] = field(default_factory=dict)


@dataclass(frozen=True)
class Constants:
    """What a transformer block adds to every pixel, whatever the pixel is; float32."""

    before: Tensor  # [C]: still to be added to its input
    look: Tensor  # [batch, C]: cross-attention to the photo, over space
    moment: Tensor  # [frames, C]: where in the clip a frame stands, for the norm alone
    moment_later: Tensor  # [frames, C]: the same, to stay
    look_over_time: Tensor  # [batch, C]
    after: Tensor  # [C]


class Conv(nn.Module):
    """A 3 x 3 convolution with its bias."""

    def __init__(self, source: nn.Conv2d) -> None:
        super().__init__()
        self.weight = _last(source.weight)
        self.bias = source.bias
        self.stride = source.stride[0]

    def forward(self, x: Tensor) -> Tensor:
        return ops.conv(x, self.weight, self.bias, stride=self.stride)


class Upsample(nn.Module):
    """Enlarges a picture; its bias is left to the resnet behind it, see ``Resnet.absorb``."""

    def __init__(self, source: nn.Conv2d) -> None:
        super().__init__()
        self.plain = _last(source.weight)
        self.doubling = _frozen(ops.upsample_weight(source.weight))

    def forward(self, x: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """To twice the size, or to ``size``."""
        if size is None or size == (2 * x.shape[1], 2 * x.shape[2]):
            return ops.upsample(x, self.doubling)
        return ops.upsample_to(x, self.plain, size)


class Resnet(nn.Module):
    """``SpatioTemporalResBlock``: a residual block over space, one over time, and a share of each."""

    def __init__(self, source: SpatioTemporalResBlock) -> None:
        super().__init__()
        space, time = source.spatial_res_block, source.temporal_res_block
        self.norm1, self.norm2 = Norm(space.norm1), Norm(space.norm2)
        self.conv1, self.conv2 = _last(space.conv1.weight), _last(space.conv2.weight)
        self.bias1, self.bias2 = _bias(space.conv1), _bias(space.conv2)
        self.embed = space.time_emb_proj
        self.shift: nn.Parameter | None = None
        self.shortcut: nn.Parameter | None = None
        if space.conv_shortcut is not None:
            self.shortcut = _frozen(space.conv_shortcut.weight.flatten(1))
            self.bias2 = _frozen(self.bias2 + _bias(space.conv_shortcut))
        self.time_norm1, self.time_norm2 = Norm(time.norm1), Norm(time.norm2)
        self.time_conv1, self.time_conv2 = _last(time.conv1.weight), _last(time.conv2.weight)
        self.time_bias1, self.time_bias2 = _bias(time.conv1), _bias(time.conv2)
        self.time_embed = time.time_emb_proj
        self.moves = 1 - source.time_mixer.share()  # of what the block over time adds

    def absorb(self, bias: Tensor) -> None:
        """From now on ``bias`` [some C] is still to be added to the first channels of every input."""
        whole = bias.new_zeros(len(self.norm1.weight))
        whole[: len(bias)] = bias
        self.shift = _frozen(whole)
        self.bias2 = _frozen(self.bias2 + (whole if self.shortcut is None else self.shortcut @ whole))

    def forward(
        self, x: Tensor, found: Stats | None, frames: int, emb: Tensor | None
    ) -> tuple[Tensor, Stats | None]:
        """``x`` [batch * frames, H, W, C]; ``emb`` [1, D] is the time embedding after SiLU."""
        y, found = self.over_space(x, found, emb)
        z = ops.group_norm(y, self.time_norm1, found=found, join=frames)
        z = ops.conv_time(z, self.time_conv1, frames)
        z = ops.group_norm(
            z, self.time_norm2, join=frames, shift=_shift(self.time_bias1, self.time_embed, emb)
        )
        z = ops.conv_time(z, self.time_conv2, frames)
        return ops.add(y, z, self.time_bias2, scale=self.moves, out=y)

    def over_space(
        self, x: Tensor, found: Stats | None, emb: Tensor | None, out: Tensor | None = None
    ) -> tuple[Tensor, Stats | None]:
        """The first half, in which every frame stands alone. Never writes to ``x``."""
        y = ops.group_norm(x, self.norm1, found=found, shift=self.shift)
        y = ops.conv(y, self.conv1)
        y = ops.group_norm(y, self.norm2, shift=_shift(self.bias1, self.embed, emb))
        y = ops.conv(y, self.conv2)
        kept = x if self.shortcut is None else F.linear(x, self.shortcut)
        return ops.add(kept, y, self.bias2, out=y if out is None else out)


class FeedForward(nn.Module):
    def __init__(self, source: transformer.FeedForward) -> None:
        super().__init__()
        self.wide = source.net[0].proj
        self.narrow, self.bias = source.net[2].weight, source.net[2].bias

    def forward(self, x: Tensor, rows_at_once: int | None) -> Tensor:
        """[rows, C] to the same; ``bias`` is still to be added."""
        if rows_at_once is None or len(x) <= rows_at_once:
            return F.linear(ops.geglu(x, self.wide.weight, self.wide.bias), self.narrow)
        # Rows do not know each other, so that any split gives the same result.
        out = x.new_empty((len(x), len(self.narrow)))
        for part, done in zip(torch.split(x, rows_at_once), torch.split(out, rows_at_once), strict=True):
            torch.mm(ops.geglu(part, self.wide.weight, self.wide.bias), self.narrow.t(), out=done)
        return out


class SelfAttention(nn.Module):
    """Query, key and value in one product; ``bias`` is still to be added to what comes out."""

    def __init__(self, source: transformer.Attention | vae.Attention) -> None:
        super().__init__()
        self.heads = source.heads
        parts = (source.to_q, source.to_k, source.to_v)
        self.qkv = _frozen(torch.cat([part.weight for part in parts]))
        self.qkv_bias = None if parts[0].bias is None else _frozen(torch.cat([part.bias for part in parts]))
        self.out, self.bias = source.to_out[0].weight, source.to_out[0].bias

    def over_space(self, x: Tensor, pictures: int) -> Tensor:
        qkv = F.linear(x, self.qkv, self.qkv_bias).view(pictures, -1, len(self.qkv))
        return F.linear(ops.attention(qkv, self.heads).flatten(0, 1), self.out)

    def over_time(self, x: Tensor, batch: int, frames: int) -> Tensor:
        qkv = F.linear(x, self.qkv, self.qkv_bias).view(batch, frames, -1, len(self.qkv))
        return F.linear(ops.attention_over_time(qkv, self.heads).flatten(0, 2), self.out)


class Look(nn.Module):
    """Cross-attention to one embedding: with a single key every pixel gets the same answer, its value."""

    def __init__(self, source: transformer.Attention) -> None:
        super().__init__()
        self.value, self.out = source.to_v, source.to_out[0]

    def forward(self, embedding: Tensor) -> Tensor:
        answer: Tensor = self.out(self.value(embedding[:, 0]))
        return answer


class TransformerBlock(nn.Module):
    """``BasicTransformerBlock`` and ``TemporalBasicTransformerBlock``, and the share of each.

    The biases of the products wait until the next pass over the rows adds them with what else it adds.
    """

    def __init__(
        self,
        space: transformer.TransformerBlock,
        time: transformer.TemporalTransformerBlock,
        mixer: TimeMixer,
    ) -> None:
        super().__init__()
        self.norm1, self.norm3 = Norm(space.norm1), Norm(space.norm3)
        self.attend, self.look, self.feed = (
            SelfAttention(space.attn1),
            Look(space.attn2),
            FeedForward(space.ff),
        )
        self.time_norm_in, self.time_norm1, self.time_norm3 = (
            Norm(time.norm_in),
            Norm(time.norm1),
            Norm(time.norm3),
        )
        self.time_feed_in, self.time_feed = FeedForward(time.ff_in), FeedForward(time.ff)
        self.time_attend, self.time_look = SelfAttention(time.attn1), Look(time.attn2)
        self.share = mixer.share()

    def constants(self, embedding: Tensor, moment: Tensor, before: Tensor) -> Constants:
        """``moment`` [frames, C]; ``before`` float32 [C] is still to be added to the block's input."""
        moment = moment.float() + self.feed.bias
        return Constants(
            before=before,
            look=(self.look(embedding) + before + self.attend.bias).float(),
            moment=moment,
            moment_later=moment + self.time_feed_in.bias,
            look_over_time=(self.time_look(embedding) + self.time_attend.bias).float(),
            after=self.share * self.feed.bias.float() + (1 - self.share) * self.time_feed.bias.float(),
        )

    def forward(self, x: Tensor, clip: Clip, known: Constants) -> Tensor:
        """``x`` [batch * frames * pixels, C], overwritten."""
        batch, frames, some = len(known.look), clip.frames, clip.rows_at_once
        pixels = len(x) // (batch * frames)
        y = self.attend.over_space(ops.layer_norm(x, self.norm1, known.before), batch * frames)
        x, y = ops.add_layer_norm(x, y, self.norm3, known.look, frames * pixels, keep=True, out=x)
        y = self.feed(y, some)
        x, y = ops.add_layer_norm(x, y, self.time_norm_in, known.moment, pixels, keep=False, out=x)
        y = self.time_feed_in(y, some)
        t, y = ops.add_layer_norm(x, y, self.time_norm1, known.moment_later, pixels, keep=True)
        y = self.time_attend.over_time(y, batch, frames)
        t, y = ops.add_layer_norm(
            t, y, self.time_norm3, known.look_over_time, frames * pixels, keep=True, out=t
        )
        return ops.blend(x, t, self.time_feed(y, some), self.share, known.after)


class Transformer(nn.Module):
    """``TransformerSpatioTemporalModel``."""

    def __init__(self, source: transformer.TransformerSpatioTemporalModel) -> None:
        super().__init__()
        self.channels = source.channels
        self.norm = Norm(source.norm)
        self.enter, self.leave = source.proj_in, source.proj_out
        self.moment_embed = source.time_pos_embed
        self.blocks: Any = nn.ModuleList(
            TransformerBlock(space, time, source.time_mixer)
            for space, time in zip(source.transformer_blocks, source.temporal_transformer_blocks, strict=True)
        )

    def forward(self, x: Tensor, found: Stats | None, clip: Clip) -> tuple[Tensor, Stats | None]:
        """``x`` [batch * frames, H, W, C], overwritten."""
        if self not in clip.constants:
            clip.constants[self] = self._constants(clip)
        y = F.linear(ops.group_norm(x, self.norm, found=found, silu=False).flatten(0, 2), self.enter.weight)
        for block, known in zip(self.blocks, clip.constants[self], strict=True):
            y = block(y, clip, known)
        y = F.linear(y, self.leave.weight)
        return ops.add(x, y.view(x.shape), self.leave.bias, out=x)

    def _constants(self, clip: Clip) -> list[Constants]:
        numbers = torch.arange(clip.frames, device=clip.embedding.device)
        waves = time_embedding.waves(numbers, self.channels)
        moment = self.moment_embed(waves.to(clip.embedding.dtype))
        first = self.enter.bias.float()
        return [
            block.constants(clip.embedding, moment, torch.zeros_like(first) if number else first)
            for number, block in enumerate(self.blocks)
        ]


def _shift(bias: Tensor, embed: nn.Linear | None, emb: Tensor | None) -> Tensor:
    """What is added to every pixel between the two convolutions of a resnet: [C]."""
    if embed is None or emb is None:
        return bias
    moved: Tensor = embed(emb)[0] + bias
    return moved


def _bias(layer: nn.Conv2d | nn.Conv3d) -> Tensor:
    assert layer.bias is not None
    return layer.bias


def _frozen(weight: Tensor) -> nn.Parameter:
    return nn.Parameter(weight, requires_grad=False)


def _last(weight: Tensor) -> nn.Parameter:
    """The weight of a convolution with its channels last in memory."""
    order = torch.channels_last_3d if weight.ndim == 5 else torch.channels_last
    return _frozen(weight.detach().contiguous(memory_format=order))
