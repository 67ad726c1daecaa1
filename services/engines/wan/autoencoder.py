"""Wan's VAEs, 2.1 and 2.2: pixels to moments of latents, and latents to pixels, part after part."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bootstrap.errors import KitError
from services.engines.wan.vae_layers import (
    AverageDown,
    CausalConv3d,
    Downsample,
    Middle,
    Past,
    RepeatUp,
    Resnet,
    RmsNorm,
    Upsample,
)


@dataclass(frozen=True)
class Config:
    """As diffusers writes it for ``AutoencoderKLWan``; what is left out is the 2.1 VAE's."""

    latents_mean: tuple[float, ...]
    latents_std: tuple[float, ...]
    base_dim: int = 96
    decoder_base_dim: int | None = None
    z_dim: int = 16
    dim_mult: tuple[int, ...] = (1, 2, 4, 4)
    num_res_blocks: int = 2
    temperal_downsample: tuple[bool, ...] = (False, True, True)
    is_residual: bool = False  # the 2.2 VAE: blocks with a way past them
    in_channels: int = 3
    out_channels: int = 3
    patch_size: int | None = None  # the 2.2 VAE: 2x2 pixels are channels of one
    scale_factor_temporal: int = 4
    scale_factor_spatial: int = 8

    @classmethod
    def read(cls, config: Mapping[str, Any]) -> Config:
        """Raises KitError for a config of another VAE."""
        if config.get("attn_scales"):
            raise KitError(
                "the VAE's config names attention inside its blocks", fix="use a Wan 2.1 or 2.2 VAE"
            )
        known = {field.name for field in fields(cls)}
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in config.items()
            if name in known
        }
        return cls(**values)


class ResidualDown(nn.Module):
    """A 2.2 block: resnets and, but in the last, a smaller picture."""

    def __init__(self, inner: int, outer: int, resnets: int, *, in_time: bool, last: bool) -> None:
        super().__init__()
        self.avg_shortcut = AverageDown(inner, outer, time=2 if in_time else 1, space=1 if last else 2)
        self.resnets: Any = nn.ModuleList(Resnet(inner if n == 0 else outer, outer) for n in range(resnets))
        self.downsampler = None if last else Downsample(outer, in_time=in_time)

    def forward(self, x: Tensor, past: Past) -> Tensor:
        short: Tensor = self.avg_shortcut(x)
        for resnet in self.resnets:
            x = resnet(x, past)
        return (x if self.downsampler is None else self.downsampler(x, past)) + short


class Encoder(nn.Module):
    def __init__(self, config: Config) -> None:
        super().__init__()
        widths = [config.base_dim * each for each in (1, *config.dim_mult)]
        self.conv_in = CausalConv3d(config.in_channels, widths[0], 3)
        self.down_blocks: Any = nn.ModuleList()
        levels = [*config.temperal_downsample, False]
        for level, (inner, outer) in enumerate(itertools.pairwise(widths)):
            last, in_time = level == len(levels) - 1, levels[level]
            if config.is_residual:
                block = ResidualDown(inner, outer, config.num_res_blocks, in_time=in_time, last=last)
                self.down_blocks.append(block)
                continue
            for number in range(config.num_res_blocks):
                self.down_blocks.append(Resnet(inner if number == 0 else outer, outer))
            if not last:
                self.down_blocks.append(Downsample(outer, in_time=in_time))
        self.mid_block = Middle(widths[-1])
        self.norm_out = RmsNorm(widths[-1], dimensions=3)
        self.conv_out = CausalConv3d(widths[-1], config.z_dim * 2, 3)

    def forward(self, x: Tensor, past: Past) -> Tensor:
        x = self.conv_in(x, past)
        for block in self.down_blocks:
            x = block(x, past)
        out: Tensor = self.conv_out(F.silu(self.norm_out(self.mid_block(x, past))), past)
        return out


class Up(nn.Module):
    """A 2.1 block: resnets and, but in the last, a larger picture of half the channels."""

    def __init__(self, inner: int, outer: int, resnets: int, *, in_time: bool, last: bool) -> None:
        super().__init__()
        self.resnets: Any = nn.ModuleList(Resnet(inner if n == 0 else outer, outer) for n in range(resnets))
        self.upsamplers: Any = None if last else nn.ModuleList([Upsample(outer, outer // 2, in_time=in_time)])

    def forward(self, x: Tensor, past: Past, *, first: bool) -> Tensor:
        for resnet in self.resnets:
            x = resnet(x, past)
        return x if self.upsamplers is None else self.upsamplers[0](x, past, first=first)


class ResidualUp(nn.Module):
    """A 2.2 block: resnets and, but in the last, a larger picture and a way past it all."""

    def __init__(self, inner: int, outer: int, resnets: int, *, in_time: bool, last: bool) -> None:
        super().__init__()
        self.avg_shortcut = None if last else RepeatUp(inner, outer, time=2 if in_time else 1)
        self.resnets: Any = nn.ModuleList(Resnet(inner if n == 0 else outer, outer) for n in range(resnets))
        self.upsampler = None if last else Upsample(outer, outer, in_time=in_time)

    def forward(self, x: Tensor, past: Past, *, first: bool) -> Tensor:
        inner = x
        for resnet in self.resnets:
            x = resnet(x, past)
        if self.upsampler is None or self.avg_shortcut is None:
            return x
        out: Tensor = self.upsampler(x, past, first=first) + self.avg_shortcut(inner, first=first)
        return out


class Decoder(nn.Module):
    def __init__(self, config: Config) -> None:
        super().__init__()
        base = config.decoder_base_dim or config.base_dim
        widths = [base * each for each in (config.dim_mult[-1], *reversed(config.dim_mult))]
        self.conv_in = CausalConv3d(config.z_dim, widths[0], 3)
        self.mid_block = Middle(widths[0])
        self.up_blocks: Any = nn.ModuleList()
        levels = [*reversed(config.temperal_downsample), False]
        for level, (inner, outer) in enumerate(itertools.pairwise(widths)):
            about = {"in_time": levels[level], "last": level == len(levels) - 1}
            count = config.num_res_blocks + 1
            if config.is_residual:
                self.up_blocks.append(ResidualUp(inner, outer, count, **about))
            else:  # the block before has halved the channels
                self.up_blocks.append(Up(inner // 2 if level else inner, outer, count, **about))
        self.norm_out = RmsNorm(widths[-1], dimensions=3)
        self.conv_out = CausalConv3d(widths[-1], config.out_channels, 3)

    def forward(self, x: Tensor, past: Past, *, first: bool) -> Tensor:
        """``first`` says that ``x`` is the clip's first latent frame, which becomes one frame, not four."""
        x = self.mid_block(self.conv_in(x, past), past)
        for block in self.up_blocks:
            x = block(x, past, first=first)
        out: Tensor = self.conv_out(F.silu(self.norm_out(x)), past)
        return out


class Autoencoder(nn.Module):
    """Both sides. Latents are the model's own, as the files have them."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.encoder, self.decoder = Encoder(config), Decoder(config)
        self.quant_conv = CausalConv3d(config.z_dim * 2, config.z_dim * 2, 1)
        self.post_quant_conv = CausalConv3d(config.z_dim, config.z_dim, 1)

    def moments(self, pixels: Tensor) -> Tensor:
        """[1, channels, frames, h, w] to mean and log variance, side by side: [1, 2 * z, frames', h', w'].

        For the 2.2 VAE the pixels are folded already.
        """
        past: Past = {}
        step = self.config.scale_factor_temporal
        parts = [pixels[:, :, :1], *pixels[:, :, 1:].split(step, dim=2)] if pixels.shape[2] > 1 else [pixels]
        out: Tensor = self.quant_conv(torch.cat([self.encoder(part, past) for part in parts], dim=2))
        return out

    def part(self, latents: Tensor, past: Past, *, first: bool) -> Tensor:
        """Latent frames to pixels in about -1..1, one frame each; for the 2.2 VAE they are still folded."""
        out: Tensor = self.decoder(self.post_quant_conv(latents), past, first=first)
        return out

    def fold(self, pixels: Tensor) -> Tensor:
        """2x2 pixels become channels, where the VAE wants it."""
        side = self.config.patch_size
        if side is None:
            return pixels
        x: Tensor = pixels.unflatten(4, (-1, side)).unflatten(
            3, (-1, side)
        )  # [1, c, frames, h, side, w, side]
        return x.permute(0, 1, 6, 4, 2, 3, 5).flatten(1, 3)

    def unfold(self, pixels: Tensor) -> Tensor:
        """The reverse of ``fold``."""
        side = self.config.patch_size
        if side is None:
            return pixels
        x: Tensor = pixels.unflatten(1, (-1, side, side))  # [1, c, side of w, side of h, frames, h, w]
        return x.permute(0, 1, 4, 5, 3, 6, 2).flatten(5, 6).flatten(3, 4)
