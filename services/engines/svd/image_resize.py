"""A picture made small as at training: blurred as much as it shrinks, then sampled by cubic interpolation."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

SMALLEST_SIGMA = 0.001  # of what does not shrink


def antialiased(picture: Tensor, side: int) -> Tensor:
    """[N, C, H, W] to [N, C, side, side]."""
    height, width = picture.shape[-2:]
    across, down = (_gaussian(length / side, picture) for length in (width, height))
    blurred = _blurred(_blurred(picture, across[None]), down[:, None])
    return F.interpolate(blurred, size=(side, side), mode="bicubic", align_corners=True)


def _gaussian(factor: float, like: Tensor) -> Tensor:
    """The weights of a blur for a picture that shrinks by ``factor``: an odd number of them, sum 1."""
    sigma = max((factor - 1) / 2, SMALLEST_SIGMA)
    count = int(max(4 * sigma, 3)) | 1
    place = torch.arange(count, dtype=like.dtype) - count // 2
    weights = torch.exp(-place.pow(2) / (2 * torch.tensor(sigma, dtype=like.dtype).pow(2)))
    return (weights / weights.sum()).to(like.device)


def _blurred(picture: Tensor, weights: Tensor) -> Tensor:
    """Convolved with ``weights`` [height, width]; the picture is mirrored at its edges."""
    channels = picture.shape[1]
    down, across = (length // 2 for length in weights.shape)
    padded = F.pad(picture, (across, across, down, down), mode="reflect")
    return F.conv2d(padded, weights.expand(channels, 1, *weights.shape), groups=channels)
