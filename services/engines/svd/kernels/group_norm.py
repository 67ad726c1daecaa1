"""Group norm: what it comes to for each channel, and its use with SiLU."""
# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator"

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from services.engines.svd.kernels import tile
from services.engines.svd.kernels.launch import launch
from services.engines.svd.statistics import Stats


@triton.jit(do_not_specialize=["blocks", "rows", "block_rows", "size", "join"])
def _affine(
    mean, m2, weight, bias, shift, scale, offset, blocks, rows, block_rows, channels, size, eps, join,
    HAS_SHIFT: tl.constexpr, SIZE: tl.constexpr, STEP: tl.constexpr,
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
    parts = join * blocks
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
    launch(
        _affine, (count // join, groups),
        found.mean, found.m2, weight, bias, weight if shift is None else shift, scale, offset,
        blocks, pixels, found.rows, channels, size, eps, join,
        HAS_SHIFT=shift is not None, SIZE=width,
        STEP=max(16, 4096 // width), num_warps=8,
    )  # fmt: skip
    return scale, offset


@triton.jit(do_not_specialize=["rows", "join"])
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
    columns = tile.columns(channels)
    launch(
        _scale_silu, (triton.cdiv(rows, tile.ROWS), count, triton.cdiv(channels, columns)),
        flat, scale, offset, out, rows, channels, join, flat.stride(0), rows * channels,
        silu, tile.ROWS, columns, num_warps=4,
    )  # fmt: skip
    return out
