"""The 2.1 VAE's decoder for a GPU: channels last, several latent frames at a time.

Computes what ``autoencoder.Decoder`` computes. Every causal convolution reads a buffer whose first two
frames are its past; what precedes it writes straight behind them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from services.engines.kernels import ops
from services.engines.wan.autoencoder import Autoencoder

PAST = 2  # frames that a causal convolution looks back
# Up to so many channels a 3D convolution is done as one in 2D over three frames side by side: cuDNN has no
# good kernel for narrow 3D ones (96 channels on an H200: 0.68 ms a frame, and 0.36 this way).
NARROW = 128
LAST_CHANNELS = 8  # the last convolution's three, filled up: the matrix units want eight


def supports(vae: Autoencoder) -> bool:
    """The 2.1 layout; the 2.2 decoder has other blocks."""
    return not vae.config.is_residual and vae.config.patch_size is None


@dataclass(frozen=True)
class Sum:
    """x + other + bias, not added yet: whoever reads the parts adds them on the way."""

    x: Tensor  # [frames, height, width, channels]
    other: Tensor | None = None
    bias: Tensor | None = None  # [channels]

    def whole(self) -> Tensor:
        total = self.x if self.other is None else self.x + self.other
        return total if self.bias is None else total + self.bias

    def norm_silu(self, norm: Any, out: Tensor) -> Tensor:
        """Write silu(norm(sum)) to ``out``; returns the sum, where there was something to add.

        An ``out`` of three times the channels gets each frame in its own place and in those of the next two.
        """
        return ops.norm_silu(self.x, self.other, self.bias, norm.gamma.flatten(), out)


class FastDecoder:
    """Holds the weights in the order that convolutions want; the past lives in each call of ``decode``."""

    def __init__(self, vae: Autoencoder, frames_at_once: int) -> None:
        self._decoder: Any = vae.decoder
        self._quant: Any = vae.post_quant_conv
        self._frames = frames_at_once
        for module in vae.decoder.modules():
            if isinstance(module, torch.nn.Conv3d):
                module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last_3d)
            elif isinstance(module, torch.nn.Conv2d):
                module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last)
        self._flat = {
            id(module): _flatten(module.weight)
            for module in vae.decoder.modules()
            if isinstance(module, torch.nn.Conv3d)
            and module.weight.shape[2:] == (3, 3, 3)
            and 8 < module.out_channels <= NARROW
            and module.in_channels <= NARROW
        }
        last: Any = self._decoder.conv_out
        more = LAST_CHANNELS - last.out_channels
        self._last_weight = F.pad(last.weight, (0, 0) * 4 + (0, more)).contiguous(
            memory_format=torch.channels_last_3d
        )
        self._last_bias = F.pad(last.bias, (0, more))

    def decode(self, latents: Tensor) -> Iterator[Tensor]:
        """Yield pixels [frames, height, width, 3] in -1..1: one frame, then four for each latent frame."""
        past: dict[int, Tensor] = {}
        with torch.inference_mode():
            inner = self._quant(latents)[0].permute(1, 2, 3, 0).contiguous()
        start, count = 0, 1  # the first frame alone: it is not doubled in time
        while start < len(inner):
            with torch.inference_mode():
                pixels = self._part(inner[start : start + count], past, first=start == 0)
            yield pixels
            start, count = start + count, self._frames

    def _part(self, x: Tensor, past: dict[int, Tensor], *, first: bool) -> Tensor:
        decoder = self._decoder
        x = self._causal(decoder.conv_in, x.shape, lambda out: out.copy_(x), past)
        x = self._attend(
            decoder.mid_block.attentions[0], self._resnet(decoder.mid_block.resnets[0], Sum(x), past).whole()
        )
        parts = self._resnet(decoder.mid_block.resnets[1], Sum(x), past)
        for block in decoder.up_blocks:
            for resnet in block.resnets:
                parts = self._resnet(resnet, parts, past)
            if block.upsamplers is not None:
                parts = Sum(self._upsample(block.upsamplers[0], parts.whole(), past, first=first))
        pixels = self._causal(
            decoder.conv_out,
            parts.x.shape,
            lambda out: parts.norm_silu(decoder.norm_out, out),
            past,
            weight=self._last_weight,
            bias=self._last_bias,
        )
        return pixels[..., : decoder.conv_out.out_channels]

    def _resnet(self, block: Any, parts: Sum, past: dict[int, Tensor]) -> Sum:
        """The biases go where the values are read next: added by the convolution they would cost a pass."""
        inner, short = self._normed(block.conv1, block.norm1, parts, past)
        outer, _ = self._normed(block.conv2, block.norm2, Sum(inner, None, block.conv1.bias), past)
        if isinstance(block.conv_shortcut, torch.nn.Conv3d):
            short = F.linear(short, block.conv_shortcut.weight.flatten(1), block.conv_shortcut.bias)
        return Sum(outer, short, block.conv2.bias)

    def _normed(self, conv: Any, norm: Any, parts: Sum, past: dict[int, Tensor]) -> tuple[Tensor, Tensor]:
        """A causal convolution, without its bias, of silu(norm(sum)); and the sum."""
        weight = self._flat.get(id(conv))
        if weight is None:
            totals: list[Tensor] = []
            shape = parts.x.shape
            out = self._causal(
                conv, shape, lambda to: totals.append(parts.norm_silu(norm, to)), past, biased=False
            )
            return out, totals[0]
        frames, height, width, channels = parts.x.shape
        beside = torch.empty(frames, height, width, 3 * channels, dtype=weight.dtype, device=weight.device)
        before = past.get(id(conv))
        if before is None:
            before = beside.new_zeros(PAST, height, width, channels)
        total = parts.norm_silu(norm, beside)
        beside[0, ..., :channels] = before[0]
        beside[0, ..., channels : 2 * channels] = before[1]
        if frames > 1:
            beside[1, ..., :channels] = before[1]
        newest = beside[-PAST:, ..., 2 * channels :]
        past[id(conv)] = newest.clone() if frames > 1 else torch.cat([before[1:], newest])
        out = F.conv2d(beside.permute(0, 3, 1, 2), weight, padding=1)
        return out.permute(0, 2, 3, 1).contiguous(), total

    def _causal(
        self,
        conv: Any,
        shape: torch.Size,
        write: Callable[[Tensor], Any],
        past: dict[int, Tensor],
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        *,
        biased: bool = True,
    ) -> Tensor:
        """[frames, h, w, channels] through a causal convolution, whose input ``write`` puts in place."""
        weight = conv.weight if weight is None else weight
        bias = (conv.bias if bias is None else bias) if biased else None
        buffer = torch.empty(PAST + shape[0], *shape[1:], dtype=weight.dtype, device=weight.device)
        before = past.get(id(conv))
        if before is None:
            buffer[:PAST].zero_()
        else:
            buffer[:PAST].copy_(before)
        write(buffer[PAST:])
        past[id(conv)] = buffer[-PAST:].clone()
        side = weight.shape[-1] // 2
        out = F.conv3d(buffer.permute(3, 0, 1, 2)[None], weight, bias, padding=(0, side, side))
        return out[0].permute(1, 2, 3, 0).contiguous()

    def _attend(self, block: Any, x: Tensor) -> Tensor:
        """Each frame to itself, one head."""
        frames, height, width, channels = x.shape
        normed = F.normalize(x.float(), dim=-1) * channels**0.5 * block.norm.gamma.flatten().float()
        qkv = F.linear(normed.to(x.dtype), block.to_qkv.weight.flatten(1), block.to_qkv.bias)
        q, k, v = qkv.reshape(frames, 1, height * width, 3 * channels).chunk(3, dim=-1)
        out = F.scaled_dot_product_attention(q, k, v).reshape(x.shape)
        return x + F.linear(out, block.proj.weight.flatten(1), block.proj.bias)

    def _upsample(self, layer: Any, x: Tensor, past: dict[int, Tensor], *, first: bool) -> Tensor:
        if layer.time_conv is not None and not first:
            twice = self._causal(layer.time_conv, x.shape, lambda out: out.copy_(x), past)
            frames, height, width, channels = x.shape
            twice = twice.view(frames, height, width, 2, channels).permute(0, 3, 1, 2, 4)
            x = twice.reshape(2 * frames, height, width, channels)
        frames, height, width, channels = x.shape
        # Each pixel four times, as one copy: the library's kernel for this takes six times as long.
        large = x[:, :, None, :, None].expand(frames, height, 2, width, 2, channels)
        large = large.reshape(frames, 2 * height, 2 * width, channels)
        conv = layer.resample[1]
        out = F.conv2d(large.permute(0, 3, 1, 2), conv.weight, conv.bias, padding=1)
        return out.permute(0, 2, 3, 1).contiguous()


def _flatten(weight: Tensor) -> Tensor:
    """[out, in, 3, 3, 3] to [out, 3 * in, 3, 3]: the oldest frame's channels first."""
    return weight.transpose(1, 2).flatten(1, 2).contiguous(memory_format=torch.channels_last)
