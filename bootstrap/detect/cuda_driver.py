"""The newest CUDA that the driver runs, from the driver itself and not from the text of a tool."""

from __future__ import annotations

import ctypes


def version(library: str = "libcuda.so.1") -> tuple[int, int] | None:
    """``(13, 0)``, or None when there is no driver. Needs no GPU context, costs no GPU memory."""
    try:
        ask = ctypes.CDLL(library).cuDriverGetVersion
    except (OSError, AttributeError):
        return None
    number = ctypes.c_int(0)
    if ask(ctypes.byref(number)) != 0 or number.value <= 0:
        return None
    return number.value // 1000, number.value % 1000 // 10
