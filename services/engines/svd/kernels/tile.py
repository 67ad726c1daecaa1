"""The tiles of the kernels that work channel by channel."""

from __future__ import annotations

import triton

ROWS = 32  # pixels in a tile


def columns(channels: int) -> int:
    """Channels in a tile: few of them masked, and whole cache lines."""
    return (
        128
        if channels % 128 == 0
        else 64
        if channels % 64 == 0
        else min(128, triton.next_power_of_2(channels))
    )
