"""Statistics of each channel, alone and of what is written anyway: a sum, channels side by side."""
# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator"

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from services.engines.svd.kernels import tile
from services.engines.svd.kernels.launch import launch
from services.engines.svd.statistics import Stats


def _tiles(rows: int) -> int:
    """Tiles whose statistics are kept as one block: few blocks, and still enough programs."""
    return 32 if rows >= 1 << 16 else 8


@triton.jit
def _keep_stats(mean, m2, at, real, pivot, total, square, count):
    """From sums of differences to ``pivot``: a pixel of the block, so near the mean that no digit is lost."""
    apart = tl.sum(total, 0)
    tl.store(mean + at, pivot + apart / count, real)
    tl.store(m2 + at, tl.maximum(tl.sum(square, 0) - apart * apart / count, 0.0), real)


@triton.jit(do_not_specialize=["rows", "tiles"])
def _stats(x, mean, m2, rows, channels, x_picture, tiles, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    picture, block = tl.program_id(1).to(tl.int64), tl.program_id(0)
    column = tl.program_id(2) * COLUMNS + tl.arange(0, COLUMNS)
    real = column < channels
    first = block * ROWS * tiles
    pivot = tl.load(x + picture * x_picture + first * channels + column, real, 0.0).to(tl.float32)
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    square = tl.zeros((ROWS, COLUMNS), tl.float32)
    for number in range(tiles):
        row = first + number * ROWS + tl.arange(0, ROWS)
        inside = (row < rows)[:, None] & real[None, :]
        values = tl.load(x + picture * x_picture + row[:, None] * channels + column[None, :], inside, 0.0)
        apart = tl.where(inside, values.to(tl.float32) - pivot[None, :], 0.0)
        total += apart
        square += apart * apart
    at = (picture * tl.num_programs(0) + block) * channels + column
    _keep_stats(
        mean, m2, at, real, pivot, total, square, tl.minimum(rows - first, ROWS * tiles).to(tl.float32)
    )


def stats(x: Tensor) -> Stats:
    """[N, rows, C], C contiguous and rows on end."""
    assert x.stride(2) == 1 and x.stride(1) == x.shape[2]
    found, grid, columns, tiles = _room(len(x), x.shape[1], x.shape[2], x.device)
    launch(
        _stats, grid, x, *found[:2], x.shape[1], x.shape[2], x.stride(0), tiles, tile.ROWS, columns,
        num_warps=4,
    )  # fmt: skip
    return found


def _room(
    count: int, rows: int, channels: int, device: torch.device
) -> tuple[Stats, tuple[int, int, int], int, int]:
    tiles, columns = _tiles(rows), tile.columns(channels)
    blocks = triton.cdiv(rows, tile.ROWS * tiles)
    mean, m2 = torch.empty((2, count, blocks, channels), dtype=torch.float32, device=device)
    return Stats(mean, m2, tile.ROWS * tiles), (blocks, count, triton.cdiv(channels, columns)), columns, tiles


@triton.jit(do_not_specialize=["rows", "tiles"])
def _add(
    x, y, bias, out, mean, m2, scale, rows, channels, x_picture, y_picture, out_picture, tiles,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    picture, block = tl.program_id(1).to(tl.int64), tl.program_id(0)
    column = tl.program_id(2) * COLUMNS + tl.arange(0, COLUMNS)
    real = column < channels
    moved = tl.load(bias + column, real, 0.0).to(tl.float32) * scale
    first = block * ROWS * tiles
    x += picture * x_picture
    y += picture * y_picture
    here = first * channels + column
    pivot = tl.load(x + here, real, 0.0).to(tl.float32) + moved
    pivot += scale * tl.load(y + here, real, 0.0).to(tl.float32)
    # Written tiles may be `x` or `y` themselves: every pivot is read before any program writes its own rows.
    tl.debug_barrier()
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    square = tl.zeros((ROWS, COLUMNS), tl.float32)
    for number in range(tiles):
        row = first + number * ROWS + tl.arange(0, ROWS)
        inside = (row < rows)[:, None] & real[None, :]
        at = row[:, None] * channels + column[None, :]
        values = tl.load(x + at, inside, 0.0).to(tl.float32) + scale * tl.load(y + at, inside, 0.0).to(
            tl.float32
        )
        values += moved[None, :]
        tl.store(out + picture * out_picture + at, values.to(out.dtype.element_ty), inside)
        apart = tl.where(inside, values - pivot[None, :], 0.0)
        total += apart
        square += apart * apart
    at = (picture * tl.num_programs(0) + block) * channels + column
    _keep_stats(
        mean, m2, at, real, pivot, total, square, tl.minimum(rows - first, ROWS * tiles).to(tl.float32)
    )


def add(x: Tensor, y: Tensor, bias: Tensor, scale: float, out: Tensor) -> tuple[Tensor, Stats]:
    flat_x, flat_y, flat_out = x.flatten(1, -2), y.flatten(1, -2), out.flatten(1, -2)
    found, grid, columns, tiles = _room(len(x), flat_out.shape[1], flat_out.shape[2], x.device)
    launch(
        _add, grid,
        flat_x, flat_y, bias, flat_out, *found[:2], scale, flat_x.shape[1], flat_x.shape[2],
        flat_x.stride(0), flat_y.stride(0), flat_out.stride(0), tiles, tile.ROWS, columns, num_warps=4,
    )  # fmt: skip
    return out, found


@triton.jit(do_not_specialize=["rows", "tiles"])
def _join(
    x, y, out, mean, m2, rows, x_channels, y_channels, tiles, ROWS: tl.constexpr, COLUMNS: tl.constexpr
):
    picture, block = tl.program_id(1).to(tl.int64), tl.program_id(0)
    channels = x_channels + y_channels
    column = tl.program_id(2) * COLUMNS + tl.arange(0, COLUMNS)
    real = column < channels
    left = column < x_channels
    first = block * ROWS * tiles
    x += picture * rows * x_channels
    y += picture * rows * y_channels - x_channels
    pivot = tl.load(x + first * x_channels + column, left, 0.0).to(tl.float32)
    pivot += tl.load(y + first * y_channels + column, real & ~left, 0.0).to(tl.float32)
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    square = tl.zeros((ROWS, COLUMNS), tl.float32)
    for number in range(tiles):
        row = first + number * ROWS + tl.arange(0, ROWS)
        inside = (row < rows)[:, None] & real[None, :]
        values = tl.load(x + row[:, None] * x_channels + column[None, :], inside & left[None, :], 0.0)
        values += tl.load(y + row[:, None] * y_channels + column[None, :], inside & ~left[None, :], 0.0)
        tl.store(out + picture * rows * channels + row[:, None] * channels + column[None, :], values, inside)
        apart = tl.where(inside, values.to(tl.float32) - pivot[None, :], 0.0)
        total += apart
        square += apart * apart
    at = (picture * tl.num_programs(0) + block) * channels + column
    _keep_stats(
        mean, m2, at, real, pivot, total, square, tl.minimum(rows - first, ROWS * tiles).to(tl.float32)
    )


def join(x: Tensor, y: Tensor) -> tuple[Tensor, Stats]:
    out = torch.empty((*x.shape[:-1], x.shape[-1] + y.shape[-1]), dtype=x.dtype, device=x.device)
    rows = x[0, ..., 0].numel()
    found, grid, columns, tiles = _room(len(x), rows, out.shape[-1], x.device)
    assert x.is_contiguous() and y.is_contiguous()
    launch(
        _join, grid, x, y, out, *found[:2], rows, x.shape[-1], y.shape[-1], tiles, tile.ROWS, columns,
        num_warps=4,
    )  # fmt: skip
    return out, found
