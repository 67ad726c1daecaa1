"""The GPU's clock and allocator; on a CPU, where these scripts can only be tried, they say nothing."""

from __future__ import annotations

import gc
from typing import Literal

import psutil
import torch

GIB = 1024**3
IS_CUDA = torch.cuda.is_available()
NAME: Literal["cuda", "cpu"] = "cuda" if IS_CUDA else "cpu"
OVERHEAD_GIB = 0.6  # the driver's own, outside the allocator


def synchronize() -> None:
    if IS_CUDA:
        torch.cuda.synchronize()


def reset_peak() -> None:
    if IS_CUDA:
        torch.cuda.reset_peak_memory_stats()


def allocated_bytes() -> int:
    return torch.cuda.memory_allocated() if IS_CUDA else 0


def peak_gib() -> float:
    """Of what the allocator took from the driver: what a card of that size must have."""
    return round(torch.cuda.max_memory_reserved() / GIB, 2) if IS_CUDA else 0.0


def host_gib() -> dict[str, float]:
    """This process's memory, pages of files not counted; ``pinned``: of it, what the GPU reads directly."""
    memory = psutil.Process().memory_info()
    pinned = torch.cuda.host_memory_stats().get("allocated_bytes.current", 0) if IS_CUDA else 0
    return {
        "process": round((memory.rss - memory.shared) / GIB, 2),
        "rss": round(memory.rss / GIB, 2),
        "pinned": round(pinned / GIB, 2),
    }


def empty() -> None:
    gc.collect()
    if IS_CUDA:
        torch.cuda.empty_cache()


def cap(gib: float | None) -> None:
    """Let the allocator have what a card of that size would have; None: all."""
    if not IS_CUDA:
        return
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(
        1.0 if gib is None else min(1.0, (gib - OVERHEAD_GIB) * GIB / total)
    )
