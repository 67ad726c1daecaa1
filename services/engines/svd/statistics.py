"""What is known of a picture's channels before they are normalised."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Stats(NamedTuple):
    """Mean and sum of squared differences of each channel in blocks of ``rows`` pixels: float32 [N, K, C]."""

    mean: Tensor
    m2: Tensor
    rows: int  # in a full block; the last block of a picture may be shorter
