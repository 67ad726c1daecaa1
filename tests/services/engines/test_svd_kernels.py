"""The fused kernels compute what plain PyTorch computes: on a GPU, else in Triton's interpreter."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from services.engines.svd import ops

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
HALF = torch.float16


@pytest.fixture(scope="module")
def kernels() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        if DEVICE == "cpu":
            patch.setenv("TRITON_INTERPRET", "1")  # read at import, and by parts that are imported later
        pytest.importorskip("triton", reason="Triton comes with PyTorch's CUDA builds")
        names = ("statistics", "group_norm", "rows", "time_attention")
        modules = {name: importlib.import_module(f"services.engines.svd.kernels.{name}") for name in names}
        yield SimpleNamespace(**modules)


@pytest.fixture(autouse=True)
def numbers() -> None:
    torch.manual_seed(0)


def random(*shape: int) -> Tensor:
    return torch.randn(shape).to(DEVICE)


def norm_of(channels: int, groups: int = 0) -> ops.Norm:
    source: Any = nn.GroupNorm(groups, channels, eps=1e-6) if groups else nn.LayerNorm(channels)
    made = ops.Norm(source.to(DEVICE))
    made.weight.data, made.bias.data = random(channels), random(channels)
    return made


def assert_near(found: Tensor, wanted: Tensor) -> None:
    """As near as float16 numbers are to float32 ones."""
    assert found.shape == wanted.shape
    error = (found.float() - wanted).norm() / wanted.norm()
    assert error.item() < 1e-3


def group_norm(x: Tensor, norm: ops.Norm, join: int) -> Tensor:
    """By PyTorch's own operator, from [N, H, W, C]."""
    joined = x.unflatten(0, (-1, join)).flatten(1, 2).permute(0, 3, 1, 2)
    done = F.silu(F.group_norm(joined, norm.groups, norm.weight, norm.bias, norm.eps))
    return done.permute(0, 2, 3, 1).reshape(x.shape)


@pytest.mark.parametrize("channels", [64, 96, 128])
@pytest.mark.parametrize(("join", "height"), [(1, 9), (4, 9), (4, 30)])
def test_group_norm(kernels: Any, channels: int, join: int, height: int) -> None:
    x, shift, norm = random(4, height, 11, channels) * 2 + 3, random(channels), norm_of(channels, 32)
    wanted = group_norm(x + shift, norm, join)
    assert_near(ops.group_norm(x, norm, join=join, shift=shift), wanted)
    found = kernels.statistics.stats(x.half().flatten(1, 2))
    scale = kernels.group_norm.affine(
        found, norm.weight, norm.bias, norm.groups, norm.eps, height * 11, join, shift
    )
    assert_near(kernels.group_norm.scale_silu(x.half(), *scale, join, True), wanted)


def test_group_norm_of_a_band_of_each_picture(kernels: Any) -> None:
    x, norm = random(4, 30, 8, 64), norm_of(64, 32)
    band = x.half()[:, 5:12]
    found = kernels.statistics.stats(band.flatten(1, 2))
    scale = kernels.group_norm.affine(found, norm.weight, norm.bias, norm.groups, norm.eps, 7 * 8, 4, None)
    assert_near(kernels.group_norm.scale_silu(band, *scale, 4, True), group_norm(x[:, 5:12], norm, 4))


def test_statistics_keep_their_digits_far_from_zero(kernels: Any) -> None:
    x = random(1, 400, 32) * 0.01 + 100
    found = kernels.statistics.stats(x)
    merged = ops.merged(found, 400)
    assert torch.allclose(merged.m2[0, 0] / 400, x[0].double().var(0, correction=0).float(), rtol=1e-3)


def test_a_scaled_sum_and_its_statistics(kernels: Any) -> None:
    x, y, bias, norm = random(4, 9, 40, 96), random(4, 9, 40, 96), random(96), norm_of(96, 32)
    wanted, _ = ops.add(x, y, bias, scale=0.3)
    half = x.half()
    found, stats = kernels.statistics.add(half, y.half(), bias, 0.3, half)
    assert found is half
    assert_near(found, wanted)
    scale = kernels.group_norm.affine(stats, norm.weight, norm.bias, norm.groups, norm.eps, 360, 2, None)
    assert_near(kernels.group_norm.scale_silu(found, *scale, 2, True), group_norm(wanted, norm, 2))


def test_joined_channels_and_their_statistics(kernels: Any) -> None:
    x, y, norm = random(2, 9, 40, 64), random(2, 9, 40, 32), norm_of(96, 32)
    found, stats = kernels.statistics.join(x.half(), y.half())
    wanted = torch.cat((x, y), -1)
    assert torch.equal(found, wanted.half())
    scale = kernels.group_norm.affine(stats, norm.weight, norm.bias, norm.groups, norm.eps, 360, 1, None)
    assert_near(kernels.group_norm.scale_silu(found, *scale, 1, True), group_norm(wanted, norm, 1))


@pytest.mark.parametrize("keep", [True, False])
def test_a_sum_and_its_layer_norm(kernels: Any, keep: bool) -> None:
    x, y, vectors, norm = random(60, 96), random(60, 96), random(3, 96), norm_of(96)
    wanted_sum, wanted = ops.add_layer_norm(x, y, norm, vectors, 10, keep=keep)
    total = torch.empty_like(x.half())
    found = kernels.rows.add_layer_norm(
        x.half(), y.half(), norm.weight, norm.bias, norm.eps, vectors, 10, keep, total
    )
    assert_near(found, wanted)
    assert_near(total, wanted_sum)


def test_layer_norm(kernels: Any) -> None:
    x, vector, norm = random(50, 320), random(320), norm_of(320)
    found = kernels.rows.add_layer_norm(
        x.half(), None, norm.weight, norm.bias, norm.eps, vector[None], 1, False, None
    )
    assert_near(found, ops.layer_norm(x, norm, vector))


def test_a_share_of_each(kernels: Any) -> None:
    x, y, z, vector = random(70, 96), random(70, 96), random(70, 96), random(96)
    found = kernels.rows.blend(x.half(), y.half(), z.half(), 0.7, vector)
    assert_near(found, ops.blend(x.clone(), y, z, 0.7, vector))


def test_a_gated_layer(kernels: Any) -> None:
    x, weight, bias = random(40, 64), random(192, 64) * 0.2, random(192)
    assert_near(kernels.rows.geglu(x.half(), weight.half(), bias.half()), ops.geglu(x, weight, bias))


@pytest.mark.parametrize(("frames", "heads"), [(6, 4), (14, 1), (25, 2), (40, 1)])
def test_attention_over_time(kernels: Any, frames: int, heads: int) -> None:
    qkv = random(2, frames, 5, 3 * 64)
    assert kernels.time_attention.fits(qkv.half(), heads)
    assert_near(
        kernels.time_attention.attention(qkv.half(), heads),
        ops.attention_over_time(qkv.cpu(), heads).to(DEVICE),
    )


def test_attention_over_time_that_does_not_fit_is_left_to_pytorch(kernels: Any) -> None:
    assert not kernels.time_attention.fits(random(1, 100, 2, 3 * 64).half(), 1)
    assert not kernels.time_attention.fits(random(1, 4, 2, 3 * 48).half(), 1)
