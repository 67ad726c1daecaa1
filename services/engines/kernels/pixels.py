"""Triton kernels over pixels whose channels lie side by side: what stands between two convolutions."""
# mypy: ignore-errors

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor


@triton.jit
def _norm_silu(
    x, other, bias, gamma, total, out, count, frame, root,
    WIDTH: tl.constexpr, BLOCK: tl.constexpr, ROWS: tl.constexpr, ADD: tl.constexpr, BIAS: tl.constexpr,
    THRICE: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, BLOCK)
    within = column < WIDTH
    at = row[:, None] * WIDTH + column[None, :]
    real = (row < count)[:, None] & within[None, :]
    value = tl.load(x + at, real, 0.0).to(tl.float32)
    if BIAS:
        value += tl.load(bias + column, within, 0.0).to(tl.float32)[None, :]
    if ADD:
        value += tl.load(other + at, real, 0.0).to(tl.float32)
        tl.store(total + at, value.to(total.dtype.element_ty), real)
    length = tl.maximum(tl.sqrt(tl.sum(tl.where(real, value * value, 0.0), 1)), 1e-12)
    value = value / length[:, None] * root * tl.load(gamma + column, within, 0.0).to(tl.float32)[None, :]
    value = (value / (1.0 + tl.exp(-value))).to(out.dtype.element_ty)
    if THRICE:
        for later in tl.static_range(3):
            to = row + later * frame
            place = to[:, None] * (3 * WIDTH) + (2 - later) * WIDTH + column[None, :]
            tl.store(out + place, value, (to < count)[:, None] & within[None, :])
    else:
        tl.store(out + at, value, real)


def norm_silu(x: Tensor, other: Tensor | None, bias: Tensor | None, gamma: Tensor, out: Tensor) -> Tensor:
    """All contiguous, channels last; see ``ops.norm_silu``."""
    width = x.shape[-1]
    count = x.numel() // width
    total = x if other is None else torch.empty_like(x)
    block = triton.next_power_of_2(width)
    rows = max(1, 4096 // block)
    _norm_silu[(triton.cdiv(count, rows),)](
        x, x if other is None else other, gamma if bias is None else bias, gamma, total, out, count,
        count // len(x), width**0.5,
        WIDTH=width, BLOCK=block, ROWS=rows, ADD=other is not None, BIAS=bias is not None,
        THRICE=out.shape[-1] == 3 * width, num_warps=4,
    )  # fmt: skip
    return total
