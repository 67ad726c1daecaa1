"""``AutoencoderKLTemporalDecoder``: its encoder, and the parameters of its decoder."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from services.engines.svd.modules import config as configs
from services.engines.svd.modules.residual import GROUPS, Resampler, ResnetBlock, SpatioTemporalResBlock

EPS, TEMPORAL_EPS = 1e-6, 1e-5


class Attention(nn.Module):
    """Self-attention within a picture, one head, with its residual."""

    heads = 1

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.group_norm = nn.GroupNorm(GROUPS, channels, EPS)
        self.to_q, self.to_k, self.to_v = (nn.Linear(channels, channels) for _ in range(3))
        self.to_out: Any = nn.ModuleList([nn.Linear(channels, channels)])

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to the same."""
        pixels = self.group_norm(x.flatten(2)).transpose(1, 2)
        q, k, v = (layer(pixels)[:, None] for layer in (self.to_q, self.to_k, self.to_v))
        found: Tensor = self.to_out[0](F.scaled_dot_product_attention(q, k, v)[:, 0])
        return found.transpose(1, 2).reshape(x.shape) + x


class Middle(nn.Module):
    """The encoder's lowest resolution, and its only attention."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(ResnetBlock(channels, channels, None, EPS) for _ in range(2))
        self.attentions = nn.ModuleList([Attention(channels)])

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.resnets[1](self.attentions[0](self.resnets[0](x)))
        return y


class DownLevel(nn.Module):
    def __init__(self, channels: int, out_channels: int, layers: int, *, halve: bool) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(
            ResnetBlock(out_channels if layer else channels, out_channels, None, EPS)
            for layer in range(layers)
        )
        self.downsamplers = nn.ModuleList(
            [Resampler(out_channels, stride=2, padding=0)] if halve else []  # forward pads one side only
        )

    def forward(self, x: Tensor) -> Tensor:
        for resnet in self.resnets:
            x = resnet(x)
        for half in self.downsamplers:
            assert isinstance(half, Resampler)
            x = half.conv(F.pad(x, (0, 1, 0, 1)))
        return x


class Encoder(nn.Module):
    def __init__(self, channels: int, latent_channels: int, widths: list[int], layers: int) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(channels, widths[0], 3, padding=1)
        self.down_blocks = nn.ModuleList(
            DownLevel(before, width, layers, halve=number < len(widths) - 1)
            for number, (before, width) in enumerate(pairwise([widths[0], *widths]))
        )
        self.mid_block = Middle(widths[-1])
        self.conv_norm_out = nn.GroupNorm(GROUPS, widths[-1], EPS)
        self.conv_out = nn.Conv2d(widths[-1], 2 * latent_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, 3, H, W] to mean and log variance [N, 2 * latent_channels, H / 8, W / 8]."""
        x = self.conv_in(x)
        for level in self.down_blocks:
            x = level(x)
        y: Tensor = self.conv_out(F.silu(self.conv_norm_out(self.mid_block(x))))
        return y


class TemporalLevel(nn.Module):
    """The decoder's resnets of one resolution, with what stands among or behind them."""

    def __init__(self, channels: int, out_channels: int, layers: int) -> None:
        super().__init__()
        self.resnets: Any = nn.ModuleList(
            SpatioTemporalResBlock(
                out_channels if layer else channels,
                out_channels,
                None,
                EPS,
                temporal_eps=TEMPORAL_EPS,
                swapped=True,
            )
            for layer in range(layers)
        )
        self.attentions: Any = nn.ModuleList()
        self.upsamplers: Any = nn.ModuleList()


class TemporalDecoder(nn.Module):
    def __init__(self, channels: int, latent_channels: int, widths: list[int], layers: int) -> None:
        super().__init__()
        top = widths[-1]
        self.conv_in = nn.Conv2d(latent_channels, top, 3, padding=1)
        self.mid_block = TemporalLevel(top, top, layers)
        self.mid_block.attentions.append(Attention(top))
        levels = [
            TemporalLevel(before, width, layers + 1) for before, width in pairwise([top, *widths[::-1]])
        ]
        for level, width in zip(levels[:-1], widths[:0:-1], strict=True):
            level.upsamplers.append(Resampler(width))
        self.up_blocks: Any = nn.ModuleList(levels)
        self.conv_norm_out = nn.GroupNorm(GROUPS, widths[0], EPS)
        self.conv_out = nn.Conv2d(widths[0], channels, 3, padding=1)
        self.time_conv_out = nn.Conv3d(channels, channels, (3, 1, 1), padding=(1, 0, 0))


class AutoencoderKLTemporalDecoder(nn.Module):
    def __init__(self, config: Mapping[str, Any]) -> None:
        """
        Raises:
            KitError: the config is not one of this class.
        """
        super().__init__()
        widths = configs.each(config.get("block_out_channels", [64]), 1)
        for kind in config.get("down_block_types", ()):
            configs.only({"down_block_types": kind}, "down_block_types", "DownEncoderBlock2D")
        layers = config.get("layers_per_block", 1)
        self.latent_channels: int = config.get("latent_channels", 4)
        self.scaling_factor: float = config.get("scaling_factor", 0.18215)
        self.force_upcast = bool(config.get("force_upcast", True))
        self.shrink = 2 ** (len(widths) - 1)  # pixels to a latent, both ways
        self.encoder = Encoder(config.get("in_channels", 3), self.latent_channels, widths, layers)
        self.decoder = TemporalDecoder(config.get("out_channels", 3), self.latent_channels, widths, layers)
        self.quant_conv = nn.Conv2d(2 * self.latent_channels, 2 * self.latent_channels, 1)
