"""Latents to frames: the function of the temporal decoder, over all frames at once, in little memory.

The decoder's norms and convolutions over time tie all frames together. Decoding a few frames at a time, as is
usual, therefore changes the result and flickers where two chunks meet. Here every layer sees the whole clip:
layers over space run a few frames at a time, which is exact because they treat each frame alone; layers over
time run a band of picture rows at a time, which is exact because they treat each place alone. Only one tensor
of the clip is held, whatever the size of a chunk.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from services.engines.base import Cancel, Cancelled
from services.engines.svd import ops
from services.engines.svd.modules import vae
from services.engines.svd.ops import Norm
from services.engines.svd.resnet import Conv, Resnet, Upsample
from services.engines.svd.statistics import Stats
from services.engines.svd.transformer import SelfAttention


@dataclass
class _Clip:
    frames: int
    chunk: int  # frames of a layer over space; a band over time holds as many pixels
    cancelled: Cancelled

    def spans(self) -> Iterator[tuple[int, int]]:
        for start in range(0, self.frames, self.chunk):
            if self.cancelled():
                raise Cancel
            yield start, min(start + self.chunk, self.frames)

    def bands(self, height: int) -> list[slice]:
        rows = max(1, height * self.chunk // self.frames)
        return [slice(start, min(start + rows, height)) for start in range(0, height, rows)]


class Decoder(nn.Module):
    """Takes over the weights of ``source``."""

    def __init__(self, source: vae.AutoencoderKLTemporalDecoder) -> None:
        super().__init__()
        decoder = source.decoder
        self.scaling = source.scaling_factor
        self.enter = Conv(decoder.conv_in)
        self.middle: Any = nn.ModuleList(Resnet(resnet) for resnet in decoder.mid_block.resnets)
        self.attention = _Attention(decoder.mid_block.attentions[0])
        self.levels: Any = nn.ModuleList(
            nn.ModuleList(Resnet(resnet) for resnet in block.resnets) for block in decoder.up_blocks
        )
        self.ups: Any = nn.ModuleList(
            Upsample(block.upsamplers[0].conv) for block in decoder.up_blocks if block.upsamplers
        )
        levels: Any = self.levels[1:]
        for block, level in zip(decoder.up_blocks, levels, strict=False):
            level[0].absorb(block.upsamplers[0].conv.bias)
        self.norm = Norm(decoder.conv_norm_out)
        self.leave = Conv(decoder.conv_out)
        self.time_leave = decoder.time_conv_out

    @torch.inference_mode()
    def features(self, latents: Tensor, chunk: int, cancelled: Cancelled) -> Tensor:
        """Latents [frames, 4, H / 8, W / 8] to the last level's features [frames, H, W, C]."""
        clip = _Clip(len(latents), chunk, cancelled)
        dtype = self.enter.weight.dtype
        x: Tensor = self.enter((latents / self.scaling).to(dtype).permute(0, 2, 3, 1).contiguous())
        for before, resnet in self._steps():
            x = _resnet(resnet, before, x, clip)
        return x

    def _steps(self) -> Iterator[tuple[nn.Module | None, Resnet]]:
        """Every resnet, and what stands before it."""
        for number, resnet in enumerate(self.middle):
            yield self.attention if number else None, resnet
        for number, level in enumerate(self.levels):
            for place, resnet in enumerate(level):
                yield self.ups[number - 1] if number and not place else None, resnet

    def frames(self, features: Tensor, chunk: int, cancelled: Cancelled) -> Iterator[Tensor]:
        """Yield uint8 [n, H, W, 3] as soon as each frame's successor is known."""
        clip = _Clip(len(features), chunk, cancelled)
        colours = torch.zeros(
            (len(features) + 2, *features.shape[1:3], 3), dtype=features.dtype, device=features.device
        )
        ready = 0
        for start, end in clip.spans():
            with torch.inference_mode():
                colours[start + 1 : end + 1] = self.leave(ops.group_norm(features[start:end], self.norm))
                last = end if end == len(features) else end - 1
                part = self._over_time(colours[ready : last + 2]) if last > ready else None
            ready = last
            if part is not None:
                yield part

    def _over_time(self, colours: Tensor) -> Tensor:
        mixed = F.conv3d(colours.permute(3, 0, 1, 2)[None], self.time_leave.weight, self.time_leave.bias)
        frames = (mixed[0].float() + 1) * 127.5
        return frames.round().clamp(0, 255).to(torch.uint8).permute(1, 2, 3, 0).contiguous()


class _Attention(nn.Module):
    """Self-attention within each frame, with its residual."""

    def __init__(self, source: vae.Attention) -> None:
        super().__init__()
        self.norm, self.attend = Norm(source.group_norm), SelfAttention(source)

    def forward(self, x: Tensor) -> Tensor:
        y = self.attend.over_space(ops.group_norm(x, self.norm, silu=False).flatten(0, 2), len(x))
        return ops.add(x, y.view(x.shape), self.attend.bias)[0]


def _resnet(resnet: Resnet, before: nn.Module | None, x: Tensor, clip: _Clip) -> Tensor:
    """``before`` and then ``resnet``; ``x`` may be overwritten."""
    if clip.chunk >= clip.frames:
        y: Tensor = resnet(x if before is None else before(x), None, clip.frames, None)[0]
        return y
    out = x if before is None and resnet.shortcut is None else None
    found = []
    for start, end in clip.spans():
        part = x[start:end] if before is None else before(x[start:end])
        if out is None:
            out = part.new_empty((clip.frames, *part.shape[1:3], len(resnet.time_bias1)))
        done, stats = resnet.over_space(part, None, None, out=out[start:end])
        found.append(stats or ops.stats(done))
    assert out is not None
    whole = Stats(torch.cat([one.mean for one in found]), torch.cat([one.m2 for one in found]), found[0].rows)
    return _over_time(resnet, out, whole, clip)


def _over_time(resnet: Resnet, x: Tensor, found: Stats, clip: _Clip) -> Tensor:
    """The second half of a resnet, in place, a band at a time; its first convolution is done twice."""
    height, width = x.shape[1:3]
    bands = clip.bands(height)
    scale, offset = ops.affine(found, resnet.time_norm1, height * width, clip.frames, None)

    def enter(band: slice) -> Tensor:
        return ops.conv_time(ops.scale_silu(x[:, band], scale, offset), resnet.time_conv1, clip.frames)

    parts = [ops.merged(ops.stats(enter(band)), width * (band.stop - band.start)) for band in bands]
    pixels = [width * (band.stop - band.start) for band in bands]
    between = ops.affine(
        ops.merged_parts(parts, pixels), resnet.time_norm2, height * width, clip.frames, resnet.time_bias1
    )
    for band in bands:
        if clip.cancelled():
            raise Cancel
        y = ops.conv_time(ops.scale_silu(enter(band), *between), resnet.time_conv2, clip.frames)
        ops.add(x[:, band], y, resnet.time_bias2, scale=resnet.moves, out=x[:, band])
    return x
