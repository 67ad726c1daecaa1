"""Whether a tensor goes through fused kernels or through plain torch, which computes the same."""

from __future__ import annotations

import importlib.util
from functools import cache
from importlib import metadata

import torch
from torch import Tensor

HAS_TRITON = importlib.util.find_spec("triton") is not None  # only CUDA builds of torch bring it
# The oldest card that Triton compiles all kernels for, by its version: 3.3 fails for 7.5 and does for 8.0,
# 3.6 does for 7.0. Tried without a card; the versions between count as the older one.
OLDEST_CARDS = {(3, 6): (7, 0), (0, 0): (8, 0)}


def fused(x: Tensor) -> bool:
    """True where Triton's kernels run on this tensor; on the meta device they are only compiled."""
    return (x.is_cuda or x.is_meta) and HAS_TRITON and not _is_too_old(x.device)


def has_kernels(device: torch.device) -> bool:
    """True where the fused kernels run on this device."""
    return device.type == "cuda" and HAS_TRITON and not _is_too_old(device)


@cache
def _is_too_old(device: torch.device) -> bool:
    if device.type != "cuda":
        return False
    return torch.cuda.get_device_capability(device) < oldest_card(metadata.version("triton"))


def oldest_card(triton: str) -> tuple[int, int]:
    """The compute capability from which on this version of Triton compiles the kernels."""
    major, minor = (int(part) for part in triton.split(".")[:2])
    return next(card for version, card in OLDEST_CARDS.items() if (major, minor) >= version)


def fused_fp8(x: Tensor) -> bool:
    """The same for kernels that use FP8: Triton's needs Ada or later."""
    return fused(x) and has_fp8_products(x.device)


def has_fp8_products(device: torch.device) -> bool:
    """Ada (8.9), Hopper (9.0) and later multiply FP8; others widen the weight for each product."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 9)
