"""Triton kernels that go over rows once: what stands between two FP8 products is read and written once.

Each has a plain torch twin in ``services.engines.kernels.ops``, which defines what it computes.
"""
# mypy: ignore-errors
# Triton's functions are no Python that a type checker knows.

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

LARGEST = tl.constexpr(448.0)
SMALLEST_SCALE = tl.constexpr(1e-12)


@triton.jit
def _store_fp8(codes, scales, row, columns, inside, y, WIDTH: tl.constexpr):
    scale = tl.maximum(tl.max(tl.abs(y)), SMALLEST_SCALE) / LARGEST
    tl.store(codes + row * WIDTH + columns, (y * (1.0 / scale)).to(tl.float8e4nv), inside)
    tl.store(scales + row, scale)


@triton.jit
def _add_norm_quantise(
    x, branch, gate, multiply, shift, codes, scales, count, split, eps,
    WIDTH: tl.constexpr, BLOCK: tl.constexpr, ROWS: tl.constexpr,
    ADD: tl.constexpr, GATE: tl.constexpr, NORM: tl.constexpr,
):  # fmt: skip
    first = tl.program_id(0).to(tl.int64) * ROWS
    row = first + tl.arange(0, ROWS)
    columns = tl.arange(0, BLOCK)
    within = columns < WIDTH
    inside = (row < count)[:, None] & within[None, :]
    at = row[:, None] * WIDTH + columns[None, :]
    # The rows of one program take the same vectors: ``split`` is a multiple of ROWS, or beyond the last row.
    which = tl.where(first < split, 0, 1) * WIDTH
    # The rows pass by once; the vectors are wanted for every row and should stay in the nearest cache.
    value = tl.load(x + at, inside, 0.0, eviction_policy="evict_first").to(tl.float32)
    if ADD:
        more = tl.load(branch + at, inside, 0.0, eviction_policy="evict_first").to(tl.float32)
        if GATE:
            more *= tl.load(gate + which + columns, within, 0.0)[None, :]
        narrow = (value + more).to(x.dtype.element_ty)
        tl.store(x + at, narrow, inside)
        value = narrow.to(tl.float32)
    if NORM:
        mean = tl.sum(value, 1) / WIDTH
        centred = tl.where(inside, value - mean[:, None], 0.0)
        value = centred * tl.rsqrt(tl.sum(centred * centred, 1) / WIDTH + eps)[:, None]
        value = value * tl.load(multiply + which + columns, within, 0.0)[None, :]
        value += tl.load(shift + which + columns, within, 0.0)[None, :]
        scale = tl.maximum(tl.max(tl.abs(value), 1), SMALLEST_SCALE) / LARGEST
        tl.store(codes + at, (value * (1.0 / scale)[:, None]).to(tl.float8e4nv), inside)
        tl.store(scales + row, scale, row < count)


@triton.jit
def _quantise(x, codes, scales, WIDTH: tl.constexpr, BLOCK: tl.constexpr, GELU: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, BLOCK)
    inside = columns < WIDTH
    value = tl.load(x + row * WIDTH + columns, inside, 0.0).to(tl.float32)
    if GELU:  # the tanh form, written with one exponential
        value = value / (1.0 + tl.exp(-1.5957691216057308 * value * (1.0 + 0.044715 * value * value)))
    _store_fp8(codes, scales, row, columns, inside, value, WIDTH)


@triton.jit
def _rms_norm(x, weight, out, eps, WIDTH: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, BLOCK)
    inside = columns < WIDTH
    value = tl.load(x + row * WIDTH + columns, inside, 0.0).to(tl.float32)
    value = value * tl.rsqrt(tl.sum(value * value) / WIDTH + eps)
    tl.store(
        out + row * WIDTH + columns,
        (value * tl.load(weight + columns, inside, 0.0)).to(out.dtype.element_ty),
        inside,
    )


@triton.jit
def _norm_rotate(
    qkv, weights, cosines, sines, q_out, q_scales, k_out, tiles, tile_rows, factor, eps,
    WIDTH: tl.constexpr, BLOCK: tl.constexpr, HEAD: tl.constexpr, TOGETHER: tl.constexpr, INT8: tl.constexpr,
):  # fmt: skip
    """RMS over all heads, then rotation of neighbouring pairs; the query also to int8, one scale a row."""
    row = tl.program_id(0).to(tl.int64)
    part = tl.program_id(1)  # 0 the query, 1 the key
    base = qkv + row * (3 * WIDTH) + part * WIDTH
    columns = tl.arange(0, BLOCK)
    value = tl.load(base + columns, columns < WIDTH, 0.0).to(tl.float32)
    rms = tl.rsqrt(tl.sum(value * value) / WIDTH + eps)
    half = tl.arange(0, HEAD // 2)
    cosine = tl.load(cosines + row * (HEAD // 2) + half)[None, :]
    sine = tl.load(sines + row * (HEAD // 2) + half)[None, :]
    column = tl.arange(0, HEAD)
    for first in range(0, WIDTH // HEAD, TOGETHER):
        head = first + tl.arange(0, TOGETHER)
        at = head[:, None] * HEAD + column[None, :]
        real = at < WIDTH
        here = (
            tl.load(base + at, real, 0.0).to(tl.float32)
            * rms
            * tl.load(weights + part * WIDTH + at, real, 0.0)
        )
        even, odd = tl.split(tl.reshape(here, [TOGETHER, HEAD // 2, 2]))
        one = even * cosine - odd * sine
        two = even * sine + odd * cosine
        if INT8:
            if part == 0:
                most = tl.maximum(tl.max(tl.abs(one), 1), tl.max(tl.abs(two), 1))
                scale = tl.maximum(most, SMALLEST_SCALE) / 127.0
                more = (1.0 / scale)[:, None]
                codes = tl.reshape(tl.join(one * more, two * more), [TOGETHER, HEAD])
                codes = tl.floor(codes + 0.5).to(tl.int8)
                inner = row % tile_rows
                chunk = (tl.arange(0, HEAD // 16) ^ (inner & 7)) * 16
                place = chunk[None, :, None] + tl.arange(0, 16)[None, None, :] + inner * HEAD
                tile = (head.to(tl.int64) * tiles + row // tile_rows) * (tile_rows * HEAD)
                whole = tl.reshape(codes, [TOGETHER, HEAD // 16, 16])
                tl.store(q_out + tile[:, None, None] + place, whole, (head * HEAD < WIDTH)[:, None, None])
                tl.store(q_scales + head * (tiles * tile_rows) + row, scale * factor, head * HEAD < WIDTH)
            else:
                both = tl.reshape(tl.join(one, two), [TOGETHER, HEAD])
                tl.store(k_out + row * WIDTH + at, both.to(k_out.dtype.element_ty), real)
        else:
            both = tl.reshape(tl.join(one, two), [TOGETHER, HEAD])
            out = q_out if part == 0 else k_out
            tl.store(out + row * WIDTH + at, both.to(k_out.dtype.element_ty), real)


@triton.jit
def _tile_keys(
    keys,
    mean,
    out,
    scales,
    rows,
    tiles,
    WIDTH: tl.constexpr,
    HEAD: tl.constexpr,
    TILE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Keys less their mean, int8 with one scale a tile, in the image that the matrix unit wants."""
    tile, head = tl.program_id(0), tl.program_id(1)
    inner = tl.arange(0, BLOCK)
    row = tile.to(tl.int64) * TILE + inner
    column = tl.arange(0, HEAD)
    real = ((row < rows) & (inner < TILE))[:, None]
    at = row[:, None] * WIDTH + head * HEAD + column[None, :]
    value = tl.load(keys + at, real, 0.0).to(tl.float32) - tl.load(mean + head * HEAD + column)[None, :]
    value = tl.where(real, value, 0.0)
    scale = tl.maximum(tl.max(tl.abs(value)), SMALLEST_SCALE) / 127.0
    codes = tl.floor(value * (1.0 / scale) + 0.5).to(tl.int8)
    swizzled = (
        inner[:, None] * HEAD + ((column // 16)[None, :] ^ (inner & 7)[:, None]) * 16 + (column % 16)[None, :]
    )
    start = (head.to(tl.int64) * tiles + tile) * (TILE * HEAD)
    tl.store(out + start + swizzled, codes, (inner < TILE)[:, None])
    tl.store(scales + head * tiles + tile, scale)


@triton.jit
def _tile_values(
    values,
    stride,
    mean,
    scales,
    out,
    rows,
    tiles,
    HEAD: tl.constexpr,
    TILE: tl.constexpr,
    GROUP: tl.constexpr,
):
    """Values less their mean, FP8 with one scale a channel, transposed, ordered as the packed weights."""
    piece, head = tl.program_id(0), tl.program_id(1)
    tile, group = piece // (TILE // GROUP), piece % (TILE // GROUP)
    inner = tl.arange(0, GROUP)
    row = tile.to(tl.int64) * TILE + group * GROUP + inner
    channel = tl.arange(0, HEAD)
    at = row[:, None] * stride + head * HEAD + channel[None, :]
    real = (row < rows)[:, None]
    value = tl.load(values + at, real, 0.0).to(tl.float32) - tl.load(mean + head * HEAD + channel)[None, :]
    value = tl.where(real, value * (1.0 / tl.load(scales + head * HEAD + channel))[None, :], 0.0)
    # A key's number in its 64 is (chunk, b, c, e) in bits 2 1 2 1; the packed weights want (chunk, c, b, e).
    codes = tl.reshape(value.to(tl.float8e4nv).to(tl.int8, bitcast=True), [GROUP // 16, 2, 4, 2, HEAD])
    codes = tl.reshape(tl.permute(codes, [4, 0, 2, 1, 3]), [HEAD, GROUP // 16, 16])
    chunk = (
        tl.arange(0, GROUP // 16)[None, :, None]
        ^ ((channel * GROUP // 128) & (GROUP // 16 - 1))[:, None, None]
    )
    place = channel[:, None, None] * GROUP + chunk * 16 + tl.arange(0, 16)[None, None, :]
    start = (head.to(tl.int64) * tiles + tile) * (TILE * HEAD) + group * (GROUP * HEAD)
    tl.store(out + start + place, codes)


def _block(width: int) -> int:
    return triton.next_power_of_2(width)


def _together(rows: int, split: int) -> int:
    return 2 if split >= rows or split % 2 == 0 else 1


def _warps(width: int) -> int:
    return 16 if width > 8192 else 8 if width > 2048 else 4


def add_norm_quantise(
    x: Tensor,
    branch: Tensor | None,
    gate: Tensor | None,
    multiply: Tensor,
    shift: Tensor,
    split: int,
    eps: float,
) -> tuple[Tensor, Tensor]:
    rows, width = x.shape
    codes = torch.empty(rows, width, dtype=torch.float8_e4m3fn, device=x.device)
    scales = torch.empty(rows, dtype=torch.float32, device=x.device)
    together = _together(rows, split)
    _add_norm_quantise[(triton.cdiv(rows, together),)](
        x, branch, gate, multiply, shift, codes, scales, rows, split, eps,
        WIDTH=width, BLOCK=_block(width), ROWS=together,
        ADD=branch is not None, GATE=gate is not None, NORM=True, num_warps=4,
    )  # fmt: skip
    return codes, scales


def add(x: Tensor, branch: Tensor, gate: Tensor, split: int) -> None:
    rows, width = x.shape
    together = _together(rows, split)
    _add_norm_quantise[(triton.cdiv(rows, together),)](
        x, branch, gate, gate, gate, x, gate, rows, split, 0.0,
        WIDTH=width, BLOCK=_block(width), ROWS=together, ADD=True, GATE=True, NORM=False, num_warps=4,
    )  # fmt: skip


def quantise(x: Tensor, *, gelu: bool = False) -> tuple[Tensor, Tensor]:
    rows, width = x.shape
    codes = torch.empty(rows, width, dtype=torch.float8_e4m3fn, device=x.device)
    scales = torch.empty(rows, dtype=torch.float32, device=x.device)
    _quantise[(rows,)](x, codes, scales, WIDTH=width, BLOCK=_block(width), GELU=gelu, num_warps=_warps(width))
    return codes, scales


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    rows, width = x.shape
    out = torch.empty_like(x)
    _rms_norm[(rows,)](x, weight, out, eps, WIDTH=width, BLOCK=_block(width), num_warps=_warps(width))
    return out


def norm_rotate(
    qkv: Tensor, weights: Tensor, cosines: Tensor, sines: Tensor, head: int, eps: float
) -> tuple[Tensor, Tensor]:
    """Query and key as the dense attention takes them, in the dtype of ``qkv``."""
    rows, width = qkv.shape[0], qkv.shape[1] // 3
    q, k = (torch.empty(rows, width, dtype=qkv.dtype, device=qkv.device) for _ in range(2))
    _norm_rotate[(rows, 2)](
        qkv, weights, cosines, sines, q, cosines, k, 0, 1, 1.0, eps,
        WIDTH=width, BLOCK=_block(width), HEAD=head, TOGETHER=8, INT8=False, num_warps=4,
    )  # fmt: skip
    return q, k


def norm_rotate_int8(
    qkv: Tensor,
    weights: Tensor,
    cosines: Tensor,
    sines: Tensor,
    head: int,
    eps: float,
    factor: float,
    tile: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Query in int8 tiles [heads, tiles, tile, head], their scales times ``factor``, and the key."""
    rows, width = qkv.shape[0], qkv.shape[1] // 3
    tiles = triton.cdiv(rows, tile)
    q = torch.empty(width // head, tiles, tile, head, dtype=torch.int8, device=qkv.device)
    scales = torch.zeros(width // head, tiles * tile, dtype=torch.float32, device=qkv.device)
    k = torch.empty(rows, width, dtype=qkv.dtype, device=qkv.device)
    _norm_rotate[(rows, 2)](
        qkv, weights, cosines, sines, q, scales, k, tiles, tile, factor, eps,
        WIDTH=width, BLOCK=_block(width), HEAD=head, TOGETHER=8, INT8=True, num_warps=4,
    )  # fmt: skip
    return q, scales, k


def tile_keys(keys: Tensor, mean: Tensor, head: int, tile: int) -> tuple[Tensor, Tensor]:
    rows, width = keys.shape
    tiles = triton.cdiv(rows, tile)
    out = torch.empty(width // head, tiles, tile, head, dtype=torch.int8, device=keys.device)
    scales = torch.empty(width // head, tiles, dtype=torch.float32, device=keys.device)
    _tile_keys[(tiles, width // head)](
        keys,
        mean,
        out,
        scales,
        rows,
        tiles,
        WIDTH=width,
        HEAD=head,
        TILE=tile,
        BLOCK=_block(tile),
        num_warps=8,
    )
    return out, scales


def tile_values(values: Tensor, mean: Tensor, scales: Tensor, head: int, tile: int) -> Tensor:
    """``values`` [rows, width] may be a part of wider rows."""
    rows, width = values.shape
    tiles = triton.cdiv(rows, tile)
    out = torch.empty(width // head, tiles, tile, head, dtype=torch.int8, device=values.device)  # E4M3's bits
    group = 32 if tile % 64 else 64
    _tile_values[(tiles * (tile // group), width // head)](
        values,
        values.stride(0),
        mean,
        scales,
        out,
        rows,
        tiles,
        HEAD=head,
        TILE=tile,
        GROUP=group,
        num_warps=4,
    )
    return out
