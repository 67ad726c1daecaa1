"""Attention of each place in the picture to itself at other times."""
# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator"

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from services.engines.svd.kernels.launch import launch


@triton.jit(do_not_specialize=["frames", "pixels", "heads"])
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


def fits(qkv: Tensor, heads: int) -> bool:
    """Whether a head's width and the number of frames suit the kernel."""
    width = qkv.shape[-1] // 3 // heads
    return qkv.shape[1] <= 64 and width in (16, 32, 64, 128) and qkv.dtype in (torch.float16, torch.bfloat16)


def attention(qkv: Tensor, heads: int) -> Tensor:
    batch, frames, pixels, channels = qkv.shape
    channels //= 3
    width = channels // heads
    out = torch.empty((batch, frames, pixels, channels), dtype=qkv.dtype, device=qkv.device)
    span = max(16, triton.next_power_of_2(frames))
    launch(
        _attend_over_time, (heads, pixels, batch),
        qkv, out, frames, pixels, channels, width**-0.5, heads, span, width, num_warps=1 if span <= 32 else 4,
    )  # fmt: skip
    return out
