"""The few operations that SVD is made of, on pictures laid out [number, height, width, channels].

With channels last no step has to move data around: a linear layer, a convolution over space, one over time
and attention all read the same memory. On an NVIDIA GPU the steps that only move memory are fused in
``kernels``, which need Triton and are imported when they run; elsewhere the same arithmetic is plain PyTorch.
"""
# Triton's launchers and a few of PyTorch's methods have no types.
# mypy: disable-error-code="no-any-return,no-untyped-call"

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from services.engines.kernels import attention as dense
from services.engines.kernels import dispatch
from services.engines.svd.statistics import Stats


class Norm(nn.Module):
    """The weights of a group or layer norm."""

    def __init__(self, source: nn.GroupNorm | nn.LayerNorm) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = source.weight, source.bias, source.eps
        self.groups = source.num_groups if isinstance(source, nn.GroupNorm) else 0


def stats(x: Tensor) -> Stats:
    """Statistics of ``x`` [N, ..., C] over all but the first and the last dimension."""
    if dispatch.fused(x):
        from services.engines.svd.kernels import statistics

        return statistics.stats(x.flatten(1, -2))
    flat = x.flatten(1, -2).float()
    mean = flat.mean(1, keepdim=True)
    return Stats(mean, (flat - mean).square().sum(1, keepdim=True), flat.shape[1])


def affine(found: Stats, norm: Norm, pixels: int, join: int, shift: Tensor | None) -> tuple[Tensor, Tensor]:
    """What group norm comes to: ``x * scale + offset``, both float32 [N / join, C].

    ``join`` neighbours share their statistics. ``shift`` [C] is a bias that was not yet added to ``x``.
    """
    if dispatch.fused(found.mean):
        from services.engines.svd.kernels import group_norm

        return group_norm.affine(found, norm.weight, norm.bias, norm.groups, norm.eps, pixels, join, shift)
    count, blocks, channels = found.mean.shape
    assert blocks == 1
    mean = found.mean if shift is None else found.mean + shift.float()
    mean = mean.view(count // join, join, norm.groups, channels // norm.groups)
    centre = mean.mean((1, 3), keepdim=True)
    m2 = found.m2.view(mean.shape) + pixels * (mean - centre).square()
    rstd = (m2.sum((1, 3)) / (pixels * join * channels // norm.groups) + norm.eps).rsqrt()
    scale = rstd.repeat_interleave(channels // norm.groups, 1) * norm.weight.float()
    middle = centre.flatten(1).repeat_interleave(channels // norm.groups, 1)
    return scale, norm.bias.float() + ((0 if shift is None else shift.float()) - middle) * scale


def merged(found: Stats, pixels: int) -> Stats:
    """The blocks of each picture of ``pixels`` as one: [N, 1, C]."""
    blocks = found.mean.shape[1]
    sizes = [min(found.rows, pixels - start * found.rows) for start in range(blocks)]
    return _pooled(found.mean, found.m2, sizes)


def merged_parts(parts: list[Stats], pixels: list[int]) -> Stats:
    """Statistics of parts of the same pictures, each merged, as those of the whole."""
    return _pooled(
        torch.cat([part.mean for part in parts], 1), torch.cat([part.m2 for part in parts], 1), pixels
    )


def _pooled(mean: Tensor, m2: Tensor, sizes: list[int]) -> Stats:
    size = torch.tensor(sizes, dtype=torch.float32, device=mean.device)[:, None]
    centre = (mean * size).sum(1, keepdim=True) / sum(sizes)
    return Stats(centre, (m2 + size * (mean - centre).square()).sum(1, keepdim=True), sum(sizes))


def scale_silu(x: Tensor, scale: Tensor, offset: Tensor, *, silu: bool = True) -> Tensor:
    """``silu(x * scale + offset)`` for ``x`` [N, ..., C]; each row of ``scale`` serves N / rows pictures."""
    join = len(x) // len(scale)
    if dispatch.fused(x):
        from services.engines.svd.kernels import group_norm

        return group_norm.scale_silu(x, scale, offset, join, silu)
    shape = (len(scale), 1, *[1] * (x.ndim - 2), x.shape[-1])
    joined = x.unflatten(0, (len(scale), join))
    y = torch.addcmul(offset.view(shape), joined, scale.view(shape)).flatten(0, 1)
    return (F.silu(y, inplace=True) if silu else y).to(x.dtype)


def group_norm(
    x: Tensor,
    norm: Norm,
    *,
    found: Stats | None = None,
    join: int = 1,
    shift: Tensor | None = None,
    silu: bool = True,
) -> Tensor:
    """Group norm of ``x + shift``, then SiLU; ``join`` frames share their statistics."""
    if not dispatch.fused(x):
        moved = x if shift is None else x + shift
        joined = moved.unflatten(0, (-1, join)).flatten(1, 2).permute(0, 3, 1, 2)
        done = F.group_norm(joined, norm.groups, norm.weight, norm.bias, norm.eps).permute(0, 2, 3, 1)
        return (F.silu(done, inplace=True) if silu else done).reshape(x.shape)
    pixels = x[0, ..., 0].numel()
    scale, offset = affine(found or stats(x), norm, pixels, join, shift)
    return scale_silu(x, scale, offset, silu=silu)


def add(
    x: Tensor, y: Tensor, bias: Tensor, *, scale: float = 1.0, out: Tensor | None = None
) -> tuple[Tensor, Stats | None]:
    """``x + scale * (y + bias)``, into ``out`` when given, and its statistics where they are free."""
    if dispatch.fused(x):
        from services.engines.svd.kernels import statistics

        return statistics.add(x, y, bias, scale, torch.empty_like(x) if out is None else out)
    result = torch.add(x, y + bias, alpha=scale, out=out)
    return result, None


def join(x: Tensor, y: Tensor) -> tuple[Tensor, Stats | None]:
    """Two pictures' channels side by side, and their statistics where they are free."""
    if dispatch.fused(x):
        from services.engines.svd.kernels import statistics

        return statistics.join(x, y)
    return torch.cat((x, y), -1), None


def layer_norm(x: Tensor, norm: Norm, vector: Tensor) -> Tensor:
    """Layer norm of the rows of ``x + vector``; ``x`` [rows, C], ``vector`` float32 [C]."""
    if dispatch.fused(x):
        from services.engines.svd.kernels import rows

        return rows.add_layer_norm(x, None, norm.weight, norm.bias, norm.eps, vector[None], 1, False, None)
    return F.layer_norm(x + vector, x.shape[-1:], norm.weight, norm.bias, norm.eps)


def add_layer_norm(
    x: Tensor, y: Tensor, norm: Norm, vectors: Tensor, each: int, *, keep: bool, out: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """``s = x + y`` into ``out`` (or new), and the layer norm of ``s + v``; ``keep`` leaves ``v`` in ``s``.

    Vector k of ``vectors``, float32 [K, C], serves ``each`` rows on end, then the next one, round and round.
    """
    if dispatch.fused(x):
        from services.engines.svd.kernels import rows

        out = torch.empty_like(x) if out is None else out
        return out, rows.add_layer_norm(x, y, norm.weight, norm.bias, norm.eps, vectors, each, keep, out)
    spread = vectors.repeat_interleave(each, 0)
    spread = spread.repeat(len(x) // len(spread), 1)
    added = torch.add(x, y, out=out)
    moved = added.add_(spread) if keep else added + spread
    return added, F.layer_norm(moved, x.shape[-1:], norm.weight, norm.bias, norm.eps)


def blend(x: Tensor, y: Tensor, z: Tensor, share: float, vector: Tensor) -> Tensor:
    """``share * x + (1 - share) * (y + z) + vector``, into ``x``; ``vector`` float32 [C]."""
    if dispatch.fused(x):
        from services.engines.svd.kernels import rows

        return rows.blend(x, y, z, share, vector)
    return x.mul_(share).add_(y, alpha=1 - share).add_(z, alpha=1 - share).add_(vector)


def geglu(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The first half of a feed-forward layer: [rows, C] to [rows, inner]; ``weight`` is [2 * inner, C]."""
    if dispatch.fused(x):
        from services.engines.svd.kernels import rows

        return rows.geglu(x, weight, bias)
    value, gate = F.linear(x, weight, bias).chunk(2, -1)
    return value * F.gelu(gate)


def conv(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, stride: int = 1) -> Tensor:
    """A 3 x 3 convolution of [N, H, W, C]; ``weight`` in channels-last format."""
    return F.conv2d(x.permute(0, 3, 1, 2), weight, bias, stride, 1).permute(0, 2, 3, 1).contiguous()


def conv_time(x: Tensor, weight: Tensor, frames: int) -> Tensor:
    """A convolution over three neighbouring frames of [batch * frames, H, W, C]."""
    if x.device.type != "cpu":
        clips = x.unflatten(0, (-1, frames)).permute(0, 4, 1, 2, 3)
        return F.conv3d(clips, weight, None, 1, (1, 0, 0)).permute(0, 2, 3, 4, 1).flatten(0, 1).contiguous()
    # The same as a picture of frames by places: CPUs have a fast convolution for that.
    clips = x.flatten(1, 2).unflatten(0, (-1, frames)).permute(0, 3, 1, 2)
    done = F.conv2d(clips, weight[..., 0], None, 1, (1, 0)).permute(0, 2, 3, 1)
    return done.reshape(x.shape[:3] + done.shape[3:])


def upsample_weight(weight: Tensor) -> Tensor:
    """Nearest doubling and then a 3 x 3 convolution, as one transposed convolution: weight [in, out, 4, 4].

    It does 16 multiplications where doubling first does 36.
    """
    w = weight.float()
    rows = torch.stack((w[:, :, 2], w[:, :, 1] + w[:, :, 2], w[:, :, 0] + w[:, :, 1], w[:, :, 0]), 2)
    both = torch.stack(
        (rows[..., 2], rows[..., 1] + rows[..., 2], rows[..., 0] + rows[..., 1], rows[..., 0]), 3
    )
    return both.transpose(0, 1).to(weight.dtype).contiguous(memory_format=torch.channels_last)


def upsample_to(x: Tensor, weight: Tensor, size: tuple[int, int]) -> Tensor:
    """Nearest enlargement to ``size`` and then a 3 x 3 convolution: for what is not twice as large."""
    return conv(F.interpolate(x.permute(0, 3, 1, 2), size).permute(0, 2, 3, 1), weight)


def upsample(x: Tensor, weight: Tensor) -> Tensor:
    """Double the size of [N, H, W, C] with a weight of ``upsample_weight``."""
    return F.conv_transpose2d(x.permute(0, 3, 1, 2), weight, None, 2, 1).permute(0, 2, 3, 1).contiguous()


def attention(qkv: Tensor, heads: int) -> Tensor:
    """Self-attention within each picture: [N, rows, 3 C] to [N, rows, C]."""
    q, k, v = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in qkv.chunk(3, -1))
    with dense.preferred(qkv.device):
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


def attention_over_time(qkv: Tensor, heads: int) -> Tensor:
    """Attention of each place to itself at other times: [batch, frames, rows, 3 C] to the same of C."""
    if dispatch.fused(qkv):
        from services.engines.svd.kernels import time_attention

        if time_attention.fits(qkv, heads):
            return time_attention.attention(qkv, heads)
    batch = len(qkv)
    parts = (
        part.unflatten(-1, (heads, -1)).permute(0, 2, 3, 1, 4).flatten(0, 1) for part in qkv.chunk(3, -1)
    )
    out = F.scaled_dot_product_attention(*parts)
    return out.unflatten(0, (batch, -1)).permute(0, 3, 1, 2, 4).flatten(3)
