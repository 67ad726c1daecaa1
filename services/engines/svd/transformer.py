"""Transformers, first over space and then over time, of which the photo is one key for all pixels."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from services.engines.svd import ops
from services.engines.svd.modules import time_embedding, vae
from services.engines.svd.modules import transformer as modules
from services.engines.svd.modules.residual import TimeMixer
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
    photo: Tensor  # [batch, C]: cross-attention to the photo, over space
    moment: Tensor  # [frames, C]: where in the clip a frame stands, for the norm alone
    moment_later: Tensor  # [frames, C]: the same, to stay
    photo_over_time: Tensor  # [batch, C]
    after: Tensor  # [C]


class FeedForward(nn.Module):
    def __init__(self, source: modules.FeedForward) -> None:
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

    def __init__(self, source: modules.Attention | vae.Attention) -> None:
        super().__init__()
        self.heads = source.heads
        parts = (source.to_q, source.to_k, source.to_v)
        self.qkv = nn.Parameter(torch.cat([part.weight for part in parts]), requires_grad=False)
        self.qkv_bias = None
        if parts[0].bias is not None:
            self.qkv_bias = nn.Parameter(torch.cat([part.bias for part in parts]), requires_grad=False)
        self.out, self.bias = source.to_out[0].weight, source.to_out[0].bias

    def over_space(self, x: Tensor, pictures: int) -> Tensor:
        qkv = F.linear(x, self.qkv, self.qkv_bias).view(pictures, -1, len(self.qkv))
        return F.linear(ops.attention(qkv, self.heads).flatten(0, 1), self.out)

    def over_time(self, x: Tensor, batch: int, frames: int) -> Tensor:
        qkv = F.linear(x, self.qkv, self.qkv_bias).view(batch, frames, -1, len(self.qkv))
        return F.linear(ops.attention_over_time(qkv, self.heads).flatten(0, 2), self.out)


class CrossAttention(nn.Module):
    """Cross-attention to one embedding: with a single key every pixel gets the same answer, its value."""

    def __init__(self, source: modules.Attention) -> None:
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
        space: modules.TransformerBlock,
        time: modules.TemporalTransformerBlock,
        mixer: TimeMixer,
    ) -> None:
        super().__init__()
        self.norm1, self.norm3 = Norm(space.norm1), Norm(space.norm3)
        self.attend, self.photo, self.feed = (
            SelfAttention(space.attn1),
            CrossAttention(space.attn2),
            FeedForward(space.ff),
        )
        self.time_norm_in, self.time_norm1, self.time_norm3 = (
            Norm(time.norm_in),
            Norm(time.norm1),
            Norm(time.norm3),
        )
        self.time_feed_in, self.time_feed = FeedForward(time.ff_in), FeedForward(time.ff)
        self.time_attend, self.time_photo = SelfAttention(time.attn1), CrossAttention(time.attn2)
        self.share = mixer.share()

    def constants(self, embedding: Tensor, moment: Tensor, before: Tensor) -> Constants:
        """``moment`` [frames, C]; ``before`` float32 [C] is still to be added to the block's input."""
        moment = moment.float() + self.feed.bias
        return Constants(
            before=before,
            photo=(self.photo(embedding) + before + self.attend.bias).float(),
            moment=moment,
            moment_later=moment + self.time_feed_in.bias,
            photo_over_time=(self.time_photo(embedding) + self.time_attend.bias).float(),
            after=self.share * self.feed.bias.float() + (1 - self.share) * self.time_feed.bias.float(),
        )

    def forward(self, x: Tensor, clip: Clip, known: Constants) -> Tensor:
        """``x`` [batch * frames * pixels, C], overwritten."""
        batch, frames, some = len(known.photo), clip.frames, clip.rows_at_once
        pixels = len(x) // (batch * frames)
        y = self.attend.over_space(ops.layer_norm(x, self.norm1, known.before), batch * frames)
        x, y = ops.add_layer_norm(x, y, self.norm3, known.photo, frames * pixels, keep=True, out=x)
        y = self.feed(y, some)
        x, y = ops.add_layer_norm(x, y, self.time_norm_in, known.moment, pixels, keep=False, out=x)
        y = self.time_feed_in(y, some)
        t, y = ops.add_layer_norm(x, y, self.time_norm1, known.moment_later, pixels, keep=True)
        y = self.time_attend.over_time(y, batch, frames)
        t, y = ops.add_layer_norm(
            t, y, self.time_norm3, known.photo_over_time, frames * pixels, keep=True, out=t
        )
        return ops.blend(x, t, self.time_feed(y, some), self.share, known.after)


class Transformer(nn.Module):
    """``TransformerSpatioTemporalModel``."""

    def __init__(self, source: modules.TransformerSpatioTemporalModel) -> None:
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
