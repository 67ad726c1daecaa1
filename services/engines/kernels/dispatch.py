"""Whether a tensor goes through fused kernels or through plain torch, which computes the same."""

from __future__ import annotations

import importlib.util

import torch
from torch import Tensor

HAS_TRITON = importlib.util.find_spec("triton") is not None  # only CUDA builds of torch bring it


def fused(x: Tensor) -> bool:
    """True where Triton's kernels run on this tensor; on the meta device they are only compiled."""
    return (x.is_cuda or x.is_meta) and HAS_TRITON


def fused_fp8(x: Tensor) -> bool:
    """The same for kernels that use FP8: Triton's needs Ada or later."""
    return fused(x) and has_fp8_products(x.device)


def has_fp8_products(device: torch.device) -> bool:
    """Ada (8.9), Hopper (9.0) and later multiply FP8; others widen the weight for each product."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 9)
