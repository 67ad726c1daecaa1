"""Steps on the rows of a transformer: layer norm of a sum, a share of each branch, a feed-forward's gate."""
# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator"

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from services.engines.svd.kernels import tile
from services.engines.svd.kernels.launch import launch


@triton.jit(do_not_specialize=["rows"])
def _add_layer_norm(
    x, y, vectors, weight, bias, total, out, rows, channels, each, count, eps,
    HAS_Y: tl.constexpr, KEEP: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, WIDTH)
    real = column < channels
    inside = (row < rows)[:, None] & real[None, :]
    at = row[:, None] * channels + column[None, :]
    tile = tl.load(x + at, inside, 0.0).to(tl.float32)
    if HAS_Y:
        tile += tl.load(y + at, inside, 0.0).to(tl.float32)
        if not KEEP:
            tl.store(total + at, tile.to(total.dtype.element_ty), inside)
    which = (row // each) % count
    tile += tl.load(vectors + which[:, None] * channels + column[None, :], inside, 0.0)
    if HAS_Y and KEEP:
        tl.store(total + at, tile.to(total.dtype.element_ty), inside)
    centre = tl.sum(tile, 1) / channels
    apart = tl.where(inside, tile - centre[:, None], 0.0)
    rstd = tl.rsqrt(tl.sum(apart * apart, 1) / channels + eps)
    steep = tl.load(weight + column, real, 0.0).to(tl.float32)
    moved = tl.load(bias + column, real, 0.0).to(tl.float32)
    done = apart * rstd[:, None] * steep[None, :] + moved[None, :]
    tl.store(out + at, done.to(out.dtype.element_ty), inside)


def add_layer_norm(
    x: Tensor, y: Tensor | None, weight: Tensor, bias: Tensor, eps: float,
    vectors: Tensor, each: int, keep: bool, total: Tensor | None,
) -> Tensor:  # fmt: skip
    """The norm; the sum of ``x`` and ``y`` goes to ``total``."""
    rows, channels = x.shape
    out = torch.empty_like(x)
    width = triton.next_power_of_2(channels)
    step = max(1, 4096 // width)
    launch(
        _add_layer_norm, (triton.cdiv(rows, step),),
        x, x if y is None else y, vectors, weight, bias, x if total is None else total, out,
        rows, channels, each, len(vectors), eps, y is not None, keep, step, width, num_warps=4,
    )  # fmt: skip
    return out


@triton.jit(do_not_specialize=["rows"])
def _blend(x, y, z, vector, share, rows, channels, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    inside = (row < rows)[:, None] & (column < channels)[None, :]
    at = row[:, None] * channels + column[None, :]
    other = tl.load(y + at, inside, 0.0).to(tl.float32) + tl.load(z + at, inside, 0.0).to(tl.float32)
    done = share * tl.load(x + at, inside, 0.0).to(tl.float32) + (1 - share) * other
    done += tl.load(vector + column, column < channels, 0.0)[None, :]
    tl.store(x + at, done.to(x.dtype.element_ty), inside)


def blend(x: Tensor, y: Tensor, z: Tensor, share: float, vector: Tensor) -> Tensor:
    rows, channels = x.shape
    columns = tile.columns(channels)
    grid = (triton.cdiv(rows, tile.ROWS), triton.cdiv(channels, columns))
    launch(_blend, grid, x, y, z, vector, share, rows, channels, tile.ROWS, columns, num_warps=4)
    return x


@triton.jit
def _gelu(x):
    """By the error function, to 2e-7 (Abramowitz and Stegun 7.1.26), in a third of the instructions."""
    a = tl.abs(x) * 0.7071067811865476
    t = 1.0 / (1.0 + 0.3275911 * a)
    series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    erf = 1.0 - series * tl.exp(-a * a)
    return 0.5 * x * (1.0 + tl.where(x < 0, -erf, erf))


@triton.jit(do_not_specialize=["rows"])
def _gate(x, bias, out, rows, inner, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    real = column < inner
    inside = (row < rows)[:, None] & real[None, :]
    at = row[:, None] * 2 * inner + column[None, :]
    value = (
        tl.load(x + at, inside, 0.0).to(tl.float32)
        + tl.load(bias + column, real, 0.0).to(tl.float32)[None, :]
    )
    gate = tl.load(x + at + inner, inside, 0.0).to(tl.float32)
    gate += tl.load(bias + inner + column, real, 0.0).to(tl.float32)[None, :]
    tl.store(
        out + row[:, None] * inner + column[None, :], (value * _gelu(gate)).to(out.dtype.element_ty), inside
    )


def geglu(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    wide = torch.nn.functional.linear(x, weight)
    rows, inner = len(x), len(weight) // 2
    out = torch.empty((rows, inner), dtype=x.dtype, device=x.device)
    columns = min(256, triton.next_power_of_2(inner))
    grid = (triton.cdiv(rows, 16), triton.cdiv(inner, columns))
    launch(_gate, grid, wide, bias, out, rows, inner, 16, columns, num_warps=4)
    return out
