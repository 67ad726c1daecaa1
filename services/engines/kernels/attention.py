"""Which attention kernels to try, in order: the fastest that the card and torch build offer wins."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel


@contextmanager
def preferred(device: torch.device) -> Iterator[None]:
    """Inside, torch's attention prefers cuDNN's kernel where that is the fastest (Hopper and later)."""
    if device.type != "cuda" or torch.cuda.get_device_capability(device) < (9, 0):
        yield
        return
    order = [
        SDPBackend.CUDNN_ATTENTION,
        SDPBackend.FLASH_ATTENTION,
        SDPBackend.EFFICIENT_ATTENTION,
        SDPBackend.MATH,
    ]
    with sdpa_kernel(order, set_priority=True):
        yield
