"""Residual blocks: over space, over time, and both with a learned share of each."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GROUPS = 32


class ResnetBlock(nn.Module):
    """``ResnetBlock2D``: two convolutions over space, each after a group norm."""

    def __init__(self, channels: int, out_channels: int, time_channels: int | None, eps: float) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(GROUPS, channels, eps)
        self.conv1 = nn.Conv2d(channels, out_channels, 3, padding=1)
        self.time_emb_proj = None if time_channels is None else nn.Linear(time_channels, out_channels)
        self.norm2 = nn.GroupNorm(GROUPS, out_channels, eps)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.conv_shortcut = None if channels == out_channels else nn.Conv2d(channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to [N, out, H, W]; for blocks without a time embedding."""
        y: Tensor = self.conv1(F.silu(self.norm1(x)))
        y = self.conv2(F.silu(self.norm2(y)))
        return y + (x if self.conv_shortcut is None else self.conv_shortcut(x))


class TemporalResnetBlock(nn.Module):
    """Two convolutions over three neighbouring frames."""

    def __init__(self, channels: int, time_channels: int | None, eps: float) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(GROUPS, channels, eps)
        self.conv1 = nn.Conv3d(channels, channels, (3, 1, 1), padding=(1, 0, 0))
        self.time_emb_proj = None if time_channels is None else nn.Linear(time_channels, channels)
        self.norm2 = nn.GroupNorm(GROUPS, channels, eps)
        self.conv2 = nn.Conv3d(channels, channels, (3, 1, 1), padding=(1, 0, 0))


class TimeMixer(nn.Module):
    """``AlphaBlender``: how much of the result is that of the layers over space."""

    def __init__(self, *, swapped: bool = False) -> None:
        super().__init__()
        self.mix_factor = nn.Parameter(torch.zeros(1))
        self.swapped = swapped

    def share(self) -> float:
        """Of the layers over space, 0 to 1."""
        share = torch.sigmoid(self.mix_factor.float()).item()
        return 1 - share if self.swapped else share


class SpatioTemporalResBlock(nn.Module):
    """A residual block over space, then one over time."""

    def __init__(
        self,
        channels: int,
        out_channels: int,
        time_channels: int | None,
        eps: float,
        *,
        temporal_eps: float | None = None,
        swapped: bool = False,
    ) -> None:
        super().__init__()
        self.spatial_res_block = ResnetBlock(channels, out_channels, time_channels, eps)
        self.temporal_res_block = TemporalResnetBlock(out_channels, time_channels, temporal_eps or eps)
        self.time_mixer = TimeMixer(swapped=swapped)


class Resampler(nn.Module):
    """``Downsample2D`` and ``Upsample2D``: the convolution of a change of size."""

    def __init__(self, channels: int, *, stride: int = 1, padding: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride, padding)
