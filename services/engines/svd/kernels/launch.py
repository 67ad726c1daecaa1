"""One way to start a kernel."""

from __future__ import annotations

from typing import Any


def launch(kernel: Any, grid: tuple[int, ...], *arguments: Any, **constants: Any) -> None:
    """Start ``kernel``; when its first tensor is on the meta device, only compile it for these arguments."""
    if arguments[0].is_meta:
        kernel.warmup(*arguments, grid=grid, **constants)
    else:
        kernel[grid](*arguments, **constants)
