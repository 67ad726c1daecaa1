"""What stands between the FP8 products of a transformer block: fused kernels on a GPU, plain torch elsewhere.

The torch versions say what is computed; they also carry the fast profile's arithmetic into tests on a CPU.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from services.engines.kernels import attention as dense
from services.engines.kernels import dispatch
from services.engines.weights import fp8_linear


def add_norm_quantise(
    x: Tensor,
    branch: Tensor | None,
    gate: Tensor | None,
    multiply: Tensor,
    shift: Tensor,
    split: int,
    eps: float,
) -> tuple[Tensor, Tensor]:
    """x += branch * gate, in place; then norm(x) * multiply + shift, as FP8 codes and row scales.

    ``gate``, ``multiply`` and ``shift`` are float32 [2, width]: rows before ``split`` take the first.
    """
    if dispatch.fused_fp8(x):
        from services.engines.kernels import rows

        return rows.add_norm_quantise(x, branch, gate, multiply, shift, split, eps)
    if branch is not None:
        add(x, branch, gate, split)
    normed = F.layer_norm(x.float(), x.shape[1:], eps=eps)
    return fp8_linear.quantise_rows(normed * _rows(multiply, x, split) + _rows(shift, x, split))


def add(x: Tensor, branch: Tensor, gate: Tensor | None, split: int) -> None:
    """x += branch * gate, in place."""
    if dispatch.fused_fp8(x) and gate is not None:
        from services.engines.kernels import rows

        rows.add(x, branch, gate, split)
        return
    more = branch.float() if gate is None else branch.float() * _rows(gate, x, split)
    x.copy_(x.float() + more)


def quantise(x: Tensor, *, gelu: bool = False) -> tuple[Tensor, Tensor]:
    """FP8 codes and row scales of ``x``, or of its GELU (tanh form)."""
    if dispatch.fused_fp8(x):
        from services.engines.kernels import rows

        return rows.quantise(x, gelu=gelu)
    return fp8_linear.quantise_rows(F.gelu(x.float(), approximate="tanh") if gelu else x)


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Over the whole width, in float32 inside."""
    if dispatch.fused_fp8(x):
        from services.engines.kernels import rows

        return rows.rms_norm(x, weight, eps)
    return F.rms_norm(x.float(), x.shape[1:], weight, eps).to(x.dtype)


def self_attention(
    qkv: Tensor, weights: Tensor, cosines: Tensor, sines: Tensor, head: int, eps: float, *, narrow: bool
) -> Tensor:
    """Norm, rotation and attention of ``qkv`` [rows, 3 * width]; ``narrow`` allows 8 bits."""
    width = qkv.shape[1] // 3
    if dispatch.fused_fp8(qkv):
        from services.engines.kernels import hopper, rows

        if narrow and hopper.supports(qkv.device, head):
            return hopper.attention(qkv, weights, cosines, sines, eps)
        q, k = rows.norm_rotate(qkv, weights, cosines, sines, head, eps)
    else:
        q, k = (
            rotate(rms_norm(part.contiguous(), weight, eps), cosines, sines, head)
            for part, weight in zip(qkv.chunk(3, dim=1)[:2], weights, strict=True)
        )
    return attend(q, k, qkv[:, 2 * width :], head)


def attend(q: Tensor, k: Tensor, v: Tensor, head: int) -> Tensor:
    """Dense attention; each [rows, width], heads side by side."""
    q, k, v = (x.reshape(len(x), -1, head).transpose(0, 1)[None] for x in (q, k, v))
    with dense.preferred(q.device):
        out = F.scaled_dot_product_attention(q, k, v)
    return out[0].transpose(0, 1).flatten(1)


def norm_silu(x: Tensor, other: Tensor | None, bias: Tensor | None, gamma: Tensor, out: Tensor) -> Tensor:
    """out = silu(rms_norm(x + other + bias)) over the last dimension; returns x + other + bias.

    Without ``other`` the sum is not kept and ``x`` itself comes back. When ``out`` has three times the
    channels, frame n goes to its last third, to the middle third of frame n + 1 and to the first of n + 2.
    """
    if dispatch.fused(x):
        from services.engines.kernels import pixels

        return pixels.norm_silu(x, other, bias, gamma, out)
    total = x.float() if other is None else x.float() + other.float()
    total = total if bias is None else total + bias.float()
    normed = F.normalize(total, dim=-1) * total.shape[-1] ** 0.5 * gamma.float()
    active = F.silu(normed)
    if out.shape[-1] == x.shape[-1]:
        out.copy_(active)
    else:
        for later, place in enumerate(reversed(out.chunk(3, dim=-1))):
            place[later:].copy_(active[: max(0, len(active) - later)])
    return x if other is None else total.to(x.dtype)


def rotate(x: Tensor, cosines: Tensor, sines: Tensor, head: int) -> Tensor:
    """Turn each pair of ``x`` [rows, width] by its angle; cosines and sines are float32 [rows, head / 2]."""
    out = torch.empty_like(x)
    even, odd = x.view(len(x), -1, head // 2, 2).unbind(-1)
    turned = out.view(len(x), -1, head // 2, 2)
    cosine, sine = cosines[:, None], sines[:, None]
    turned[..., 0] = even * cosine - odd * sine
    turned[..., 1] = even * sine + odd * cosine
    return out


def _rows(pair: Tensor, x: Tensor, split: int) -> Tensor:
    """[2, width] spread over the rows."""
    which = (torch.arange(len(x), device=x.device) >= split).long()
    return pair[which] if 0 < split < len(x) else pair[int(split <= 0)]
