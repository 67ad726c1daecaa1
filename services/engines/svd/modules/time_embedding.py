"""Numbers as vectors: cosines and sines of many frequencies, and the two layers behind them."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LONGEST_PERIOD = 10000


def waves(numbers: Tensor, width: int) -> Tensor:
    """Cosines, then sines, of ``numbers`` [N]: float32 [N, width]."""
    half = width // 2
    exponent = -math.log(LONGEST_PERIOD) * torch.arange(half, dtype=torch.float32, device=numbers.device)
    angles = numbers[:, None].float() * torch.exp(exponent / half)[None]
    return torch.cat([torch.cos(angles), torch.sin(angles)], dim=-1)


class TimestepEmbedding(nn.Module):
    def __init__(self, channels: int, inner: int, out_channels: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(channels, inner)
        self.linear_2 = nn.Linear(inner, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """[N, channels] to [N, out_channels]."""
        y: Tensor = self.linear_2(F.silu(self.linear_1(x)))
        return y
