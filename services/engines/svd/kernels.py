"""Fused GPU kernels for the steps of SVD that only move memory, and for two that cuBLAS and SDPA do slowly.

Each has the meaning of the function of the same name in ``ops``. All sums are in float32.
"""
# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator"

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from services.engines.svd.ops import Stats

ROWS = 32  # pixels in a tile of the per-channel kernels


def _channels(count: int) -> int:
    """Channels in a tile: few of them masked, and whole cache lines."""
    return 128 if count % 128 == 0 else 64 if count % 64 == 0 else min(128, triton.next_power_of_2(count))


# --- group norm ------------------------------------------------------------------------------------------


def _tiles(rows: int) -> int:
    """Tiles whose statistics are kept as one block: few blocks, and still enough programs."""
    return 32 if rows >= 1 << 16 else 8


@triton.jit
def _keep_stats(mean, m2, at, real, pivot, total, square, count):
    """From sums of differences to ``pivot``: a pixel of the block, so near the mean that no digit is lost."""
    apart = tl.sum(total, 0)
    tl.store(mean + at, pivot + apart / count, real)
    tl.store(m2 + at, tl.maximum(tl.sum(square, 0) - apart * apart / count, 0.0), real)


@triton.jit
def _stats(x, mean, m2, rows, channels, x_picture, tiles, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    picture, block = tl.program_id(1).to(tl.int64), tl.program_id(0)
    column = tl.program_id(2) * COLUMNS + tl.arange(0, COLUMNS)
    real = column < channels
    first = block * ROWS * tiles
    pivot = tl.load(x + picture * x_picture + first * channels + column, real, 0.0).to(tl.float32)
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    square = tl.zeros((ROWS, COLUMNS), tl.float32)
    for tile in range(tiles):
        row = first + tile * ROWS + tl.arange(0, ROWS)
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
    _stats[grid](x, *found[:2], x.shape[1], x.shape[2], x.stride(0), tiles, ROWS, columns, num_warps=4)
    return found


def _room(
    count: int, rows: int, channels: int, device: torch.device
) -> tuple[Stats, tuple[int, int, int], int, int]:
    tiles, columns = _tiles(rows), _channels(channels)
    blocks = triton.cdiv(rows, ROWS * tiles)
    mean, m2 = torch.empty((2, count, blocks, channels), dtype=torch.float32, device=device)
    return Stats(mean, m2, ROWS * tiles), (blocks, count, triton.cdiv(channels, columns)), columns, tiles


@triton.jit
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
    for tile in range(tiles):
        row = first + tile * ROWS + tl.arange(0, ROWS)
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
    _add[grid](
        flat_x, flat_y, bias, flat_out, *found[:2], scale, flat_x.shape[1], flat_x.shape[2],
        flat_x.stride(0), flat_y.stride(0), flat_out.stride(0), tiles, ROWS, columns, num_warps=4,
    )  # fmt: skip
    return out, found


@triton.jit
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
    for tile in range(tiles):
        row = first + tile * ROWS + tl.arange(0, ROWS)
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
    _join[grid](x, y, out, *found[:2], rows, x.shape[-1], y.shape[-1], tiles, ROWS, columns, num_warps=4)
    return out, found


@triton.jit
def _affine(
    mean, m2, weight, bias, shift, scale, offset, blocks, rows, block_rows, channels, size, eps,
    HAS_SHIFT: tl.constexpr, JOIN: tl.constexpr, SIZE: tl.constexpr, STEP: tl.constexpr,
):  # fmt: skip
    """One program for one group of channels of pictures that share their statistics."""
    joined, group = tl.program_id(0).to(tl.int64), tl.program_id(1)
    column = tl.arange(0, SIZE)
    channel = group * size + column
    real = column < size
    moved = tl.zeros((SIZE,), tl.float32)
    if HAS_SHIFT:
        moved += tl.load(shift + channel, real, 0.0).to(tl.float32)
    count = tl.zeros((STEP, SIZE), tl.float32)
    total = tl.zeros((STEP, SIZE), tl.float32)
    parts = JOIN * blocks
    first = joined * parts
    for start in range(0, parts, STEP):
        part = start + tl.arange(0, STEP)
        inside = (part < parts)[:, None] & real[None, :]
        here = tl.minimum(rows - (part % blocks) * block_rows, block_rows).to(tl.float32)[:, None]
        value = (
            tl.load(mean + (first + part)[:, None] * channels + channel[None, :], inside, 0.0)
            + moved[None, :]
        )
        count += tl.where(inside, here, 0.0)
        total += tl.where(inside, here * value, 0.0)
    pixels = tl.sum(tl.sum(count, 1), 0)
    centre = tl.sum(tl.sum(total, 1), 0) / pixels
    spread = tl.zeros((STEP, SIZE), tl.float32)
    for start in range(0, parts, STEP):
        part = start + tl.arange(0, STEP)
        inside = (part < parts)[:, None] & real[None, :]
        at = (first + part)[:, None] * channels + channel[None, :]
        here = tl.minimum(rows - (part % blocks) * block_rows, block_rows).to(tl.float32)[:, None]
        apart = tl.load(mean + at, inside, 0.0) + moved[None, :] - centre
        spread += tl.where(inside, tl.load(m2 + at, inside, 0.0) + here * apart * apart, 0.0)
    rstd = tl.rsqrt(tl.sum(tl.sum(spread, 1), 0) / pixels + eps)
    steep = rstd * tl.load(weight + channel, real, 0.0).to(tl.float32)
    at = joined * channels + channel
    tl.store(scale + at, steep, real)
    tl.store(offset + at, tl.load(bias + channel, real, 0.0).to(tl.float32) + (moved - centre) * steep, real)


def affine(
    found: Stats,
    weight: Tensor,
    bias: Tensor,
    groups: int,
    eps: float,
    pixels: int,
    join: int,
    shift: Tensor | None,
) -> tuple[Tensor, Tensor]:
    count, blocks, channels = found.mean.shape
    scale, offset = torch.empty((2, count // join, channels), dtype=torch.float32, device=found.mean.device)
    size = channels // groups
    width = triton.next_power_of_2(size)
    _affine[(count // join, groups)](
        found.mean, found.m2, weight, bias, weight if shift is None else shift, scale, offset,
        blocks, pixels, found.rows, channels, size, eps,
        HAS_SHIFT=shift is not None, JOIN=join, SIZE=width,
        STEP=max(16, 4096 // width), num_warps=8,
    )  # fmt: skip
    return scale, offset


@triton.jit
def _scale_silu(
    x, scale, offset, out, rows, channels, join, x_picture, out_picture,
    SILU: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    picture = tl.program_id(1).to(tl.int64)
    columns = tl.program_id(2) * COLUMNS + tl.arange(0, COLUMNS)
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    inside = (row < rows)[:, None] & (columns < channels)[None, :]
    known = (picture // join) * channels + columns
    steep = tl.load(scale + known, columns < channels, 0.0)
    moved = tl.load(offset + known, columns < channels, 0.0)
    at = row[:, None] * channels + columns[None, :]
    tile = tl.load(x + picture * x_picture + at, inside, 0.0).to(tl.float32) * steep[None, :] + moved[None, :]
    if SILU:
        tile = tile * tl.sigmoid(tile)
    tl.store(out + picture * out_picture + at, tile.to(out.dtype.element_ty), inside)


def scale_silu(x: Tensor, scale: Tensor, offset: Tensor, join: int, silu: bool) -> Tensor:
    flat = x.flatten(1, -2)
    assert flat.stride(2) == 1 and flat.stride(1) == flat.shape[2]
    out = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    count, rows, channels = flat.shape
    columns = _channels(channels)
    _scale_silu[(triton.cdiv(rows, ROWS), count, triton.cdiv(channels, columns))](
        flat, scale, offset, out, rows, channels, join, flat.stride(0), rows * channels,
        silu, ROWS, columns, num_warps=4,
    )  # fmt: skip
    return out


# --- layer norm and sums of rows -------------------------------------------------------------------------


@triton.jit
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
    _add_layer_norm[(triton.cdiv(rows, step),)](
        x, x if y is None else y, vectors, weight, bias, x if total is None else total, out,
        rows, channels, each, len(vectors), eps, y is not None, keep, step, width, num_warps=4,
    )  # fmt: skip
    return out


@triton.jit
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
    columns = _channels(channels)
    grid = (triton.cdiv(rows, ROWS), triton.cdiv(channels, columns))
    _blend[grid](x, y, z, vector, share, rows, channels, ROWS, columns, num_warps=4)
    return x


# --- feed-forward ----------------------------------------------------------------------------------------


@triton.jit
def _gelu(x):
    """By the error function, to 2e-7 (Abramowitz and Stegun 7.1.26), in a third of the instructions."""
    a = tl.abs(x) * 0.7071067811865476
    t = 1.0 / (1.0 + 0.3275911 * a)
    series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    erf = 1.0 - series * tl.exp(-a * a)
    return 0.5 * x * (1.0 + tl.where(x < 0, -erf, erf))


@triton.jit
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
    _gate[grid](wide, bias, out, rows, inner, 16, columns, num_warps=4)
    return out


# --- attention over time ---------------------------------------------------------------------------------


@triton.jit
def _attend_over_time(
    qkv, out, frames, pixels, channels, sharpness, heads,
    FRAMES: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """One program for one head of one pixel: all its frames fit in registers."""
    head, pixel, clip = tl.program_id(0), tl.program_id(1), tl.program_id(2).to(tl.int64)
    frame, column = tl.arange(0, FRAMES), tl.arange(0, WIDTH)
    real = frame < frames
    place = (clip * frames + frame) * pixels + pixel
    at = place[:, None] * (3 * channels) + head * WIDTH + column[None, :]
    q = tl.load(qkv + at, real[:, None], 0.0)
    k = tl.load(qkv + at + channels, real[:, None], 0.0)
    v = tl.load(qkv + at + 2 * channels, real[:, None], 0.0)
    score = tl.dot(q, tl.trans(k)) * sharpness
    score = tl.where(real[None, :], score, float("-inf"))
    weight = tl.exp(score - tl.max(score, 1)[:, None])
    weight = weight / tl.sum(weight, 1)[:, None]
    done = tl.dot(weight.to(v.dtype), v)
    tl.store(
        out + place[:, None] * channels + head * WIDTH + column[None, :],
        done.to(out.dtype.element_ty),
        real[:, None],
    )


def fits_attention_over_time(qkv: Tensor, heads: int) -> bool:
    """Whether a head's width and the number of frames suit the kernel."""
    width = qkv.shape[-1] // 3 // heads
    return qkv.shape[1] <= 64 and width in (16, 32, 64, 128) and qkv.dtype in (torch.float16, torch.bfloat16)


def attention_over_time(qkv: Tensor, heads: int) -> Tensor:
    batch, frames, pixels, channels = qkv.shape
    channels //= 3
    width = channels // heads
    out = torch.empty((batch, frames, pixels, channels), dtype=qkv.dtype, device=qkv.device)
    span = max(16, triton.next_power_of_2(frames))
    _attend_over_time[(heads, pixels, batch)](
        qkv, out, frames, pixels, channels, width**-0.5, heads, span, width, num_warps=1 if span <= 32 else 4,
    )  # fmt: skip
    return out
