"""On an NVIDIA GPU: the kernels against their torch twins, and the whole engine against float32."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from services.engines import wan as family
from services.engines.base import Start
from services.engines.kernels import hopper, ops
from services.engines.wan.engine import WanEngine
from services.engines.wan.vae import Codec
from services.parameters.values import Values
from tests.checkpoints import wan
from tests.services.engines import test_wan
from tests.services.engines.test_wan_modules import codec_and_reference

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU"),
]


def test_fused_rows_compute_what_torch_does() -> None:
    x, branch = (torch.randn(1000, 5120, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    one, two, three = (torch.randn(2, 5120, device="cuda") for _ in range(3))
    mine, plain = x.clone(), x.cpu()
    codes, scales = ops.add_norm_quantise(mine, branch, one, two, three, 300, 1e-6)
    wanted, wanted_scales = ops.add_norm_quantise(
        plain, branch.cpu(), one.cpu(), two.cpu(), three.cpu(), 300, 1e-6
    )
    assert test_wan.distance(mine.cpu(), plain) < 1e-3
    assert (
        test_wan.distance(
            codes.cpu().float() * scales.cpu()[:, None], wanted.float() * wanted_scales[:, None]
        )
        < 1e-2
    )


@pytest.mark.parametrize("rows", [96, 1000, 4096])
def test_8_bit_attention_stays_near_float32(rows: int) -> None:
    if not hopper.supports(torch.device("cuda", 0), hopper.HEAD):
        pytest.skip("the kernel is for Hopper")
    width = 4 * hopper.HEAD
    qkv = torch.randn(rows, 3 * width, device="cuda", dtype=torch.bfloat16)
    weights = torch.rand(2, width, device="cuda") + 0.5
    angle = torch.rand(rows, hopper.HEAD // 2, device="cuda") * 6
    got = ops.self_attention(qkv, weights, angle.cos(), angle.sin(), hopper.HEAD, 1e-6, narrow=True)
    plain = qkv.float().cpu()
    wanted = ops.self_attention(
        plain, weights.cpu(), angle.cos().cpu(), angle.sin().cpu(), hopper.HEAD, 1e-6, narrow=False
    )
    assert got.isfinite().all()
    assert test_wan.distance(got.cpu().float(), wanted) < 0.06


@pytest.mark.parametrize(("matmul", "limit"), [("exact", 0.01), ("fp8", 0.05)])
@pytest.mark.parametrize("experts", ["resident", "swap", "stream"])
def test_the_engine_stays_near_plain_diffusers(
    tmp_path_factory: pytest.TempPathFactory, matmul: str, limit: float, experts: str
) -> None:
    tiny = wan.make(tmp_path_factory.mktemp("gpu"))
    settings = {"matmul": matmul, "experts": experts, "text_encoder": "gpu"}
    made = family.load(tiny.plan(device="cuda", settings=settings), Start(test_wan.quiet))
    assert isinstance(made, WanEngine)
    got = made.sample(Values.of(test_wan.VALUES), None, test_wan.quiet, test_wan.never)
    text, noise = made.text.encode(test_wan.VALUES["prompt"]), made.noise(Values.of(test_wan.VALUES))
    wanted = test_wan.reference(tiny, text, noise, shift=5.0, lora=True)
    assert test_wan.distance(got.cpu(), wanted) < limit


@pytest.mark.parametrize("config", [wan.VAE_21, wan.VAE_22], ids=["2.1", "2.2"])
def test_a_vae_on_the_gpu_shows_what_it_shows_on_a_cpu(config: dict[str, Any]) -> None:
    """Convolutions on a GPU round to TF32."""
    plain, _ = codec_and_reference(config)
    fast = Codec(copy.deepcopy(plain.vae).cuda(), tiling=False, frames_at_once=2)
    latents = torch.randn(1, plain.channels, 5, 4, 6)
    wanted, got = (torch.cat(list(codec.decode(latents))).cpu().float() for codec in (plain, fast))
    assert (got - wanted).abs().mean() < 1
    pixels = torch.rand(1, 3, 9, 64, 96) * 2 - 1
    assert test_wan.distance(fast.encode(pixels).cpu(), plain.encode(pixels)) < 0.02
