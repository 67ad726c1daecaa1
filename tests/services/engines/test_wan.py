"""The Wan engine on tiny checkpoints in the published layouts, against plain diffusers in float32."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from diffusers.loaders.single_file_utils import convert_wan_transformer_to_diffusers
from PIL import Image
from torch import Tensor

from services.engines import wan as family
from services.engines.base import Cancel, Start
from services.engines.wan.engine import WanEngine
from services.engines.wan.vae import Codec
from services.parameters.values import Values
from tests.checkpoints import wan

VALUES: dict[str, Any] = {
    "prompt": "a cat walks along the beach",
    "negative_prompt": "",
    "width": 64,
    "height": 48,
    "num_frames": 9,
    "fps": 16,
    "seed": 7,
    "num_inference_steps": 4,
    "guidance_scale": 1.0,
    "shift": 5.0,
    "lora": True,
    "lora_high_strength": 1.0,
    "lora_low_strength": 1.0,
}


def quiet(*_: Any) -> None:
    return None


def never() -> bool:
    return False


@pytest.fixture(scope="module")
def t2v(tmp_path_factory: pytest.TempPathFactory) -> wan.Tiny:
    return wan.make(tmp_path_factory.mktemp("t2v"))


@pytest.fixture(scope="module")
def i2v(tmp_path_factory: pytest.TempPathFactory) -> wan.Tiny:
    return wan.make(tmp_path_factory.mktemp("i2v"), "i2v")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> wan.Tiny:
    return wan.make(tmp_path_factory.mktemp("5b"), "5b", fp8=False)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    y, x = np.mgrid[0:48, 0:64]
    Image.fromarray(np.stack([x * 4, y * 5, (x + y) * 2], axis=-1).astype(np.uint8)).save(path)
    return path


def engine(tiny: wan.Tiny, **settings: Any) -> WanEngine:
    made = family.load(tiny.plan(settings=settings), Start(quiet))
    assert isinstance(made, WanEngine)
    return made


def reference_model(
    tiny: wan.Tiny, role: str, lora: str | None, strength: float = 1.0
) -> WanTransformer3DModel:
    """Plain diffusers in float32, on what the files mean; the LoRA added to the weights."""
    config = json.loads((tiny.folder / "configs" / "transformer" / "config.json").read_text())
    read = wan.dequantised(tiny.components[role])
    state = {name.removeprefix("model.diffusion_model."): tensor for name, tensor in read.items()}
    if lora is not None:
        for layer, change in lora_changes(wan.dequantised(tiny.components[lora]), state):
            state[f"{layer}.weight"] += change * strength
    model = WanTransformer3DModel.from_config(config).eval()
    model.load_state_dict(convert_wan_transformer_to_diffusers(state))
    return model


def reference_vae(tiny: wan.Tiny, codec: Codec) -> AutoencoderKLWan:
    """diffusers' class with the tensors that the engine has read."""
    config = json.loads((tiny.folder / "configs" / "vae" / "config.json").read_text())
    model = wan.vae(config)
    model.load_state_dict(codec.vae.state_dict())
    return model


def lora_changes(raw: dict[str, Tensor], state: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """What each layer's weight gains, however the file spells it; without alpha the factor is 1."""
    spelled = {name.removesuffix(".weight").replace(".", "_"): name for name in state}
    for key, up in raw.items():
        base, found, part = key.partition(".lora_up") if ".lora_up" in key else key.partition(".lora_B")
        if not found:
            continue
        down = raw[f"{base}{'.lora_down' if found == '.lora_up' else '.lora_A'}{part}"]
        alpha = raw.get(f"{base}.alpha", torch.tensor(float(len(down))))
        layer = base.removeprefix("diffusion_model.").removeprefix("lora_unet_").replace(".", "_")
        yield spelled[layer].removesuffix(".weight"), up @ down * (alpha / len(down))


@torch.no_grad()
def reference(
    tiny: wan.Tiny,
    text: Tensor,
    noise: Tensor,
    *,
    shift: float,
    lora: bool,
    steps: int = 4,
    high_steps: int | None = None,
    strength: float = 1.0,
    strengths: tuple[float, float] | None = None,
    condition: Tensor | None = None,
    guidance: float = 1.0,
    negative: Tensor | None = None,
) -> Tensor:
    experts = [
        reference_model(tiny, role, name if lora else None, each)
        for (role, name), each in zip(
            (("high_noise", "lora_high"), ("low_noise", "lora_low")),
            strengths or (strength, strength),
            strict=True,
        )
    ]
    times = np.linspace(1, 0, steps + 1)
    levels = shift * times / (1 + (shift - 1) * times)
    latents = noise.clone()
    for step in range(steps):
        high = steps // 2 if high_steps is None else high_steps
        first = step < high if lora else levels[step] >= tiny.recipe["boundary_ratio"]
        inputs = latents if condition is None else torch.cat([latents, condition], dim=1)
        timestep = torch.tensor([1000 * levels[step]], dtype=torch.float32)
        expert = experts[0 if first else 1]
        velocity = expert(inputs, timestep, text, return_dict=False)[0]
        if negative is not None:
            without = expert(inputs, timestep, negative, return_dict=False)[0]
            velocity = without + guidance * (velocity - without)
        latents = latents + (levels[step + 1] - levels[step]) * velocity
    return latents


def forwards_counted(made: WanEngine) -> list[str]:
    """Grows by an expert's role with each forward from now on."""
    roles: list[str] = []
    for role, expert in made.experts._experts.items():
        expert.model.register_forward_hook(lambda *_, role=role: roles.append(role))
    return roles


def distance(got: Tensor, wanted: Tensor) -> float:
    return float((got - wanted).norm() / wanted.norm())


@pytest.mark.parametrize("shift", [5.0, 8.0])
@pytest.mark.parametrize("lora", [True, False])
@pytest.mark.parametrize("experts", ["resident", "swap", "stream"])
def test_the_exact_profile_makes_the_latents_of_plain_diffusers(
    t2v: wan.Tiny, shift: float, lora: bool, experts: str
) -> None:
    made = engine(t2v, experts=experts)
    values = VALUES | {"shift": shift, "lora": lora}
    got = made.sample(Values.of(values), None, quiet, never)
    wanted = reference(
        t2v, made.text.encode(VALUES["prompt"]), made.noise(Values.of(values)), shift=shift, lora=lora
    )
    assert distance(got, wanted) < 1e-3


@pytest.mark.parametrize("shift", [5.0, 8.0])
@pytest.mark.parametrize("lora", [True, False])
def test_fp8_products_stay_near_plain_diffusers(t2v: wan.Tiny, shift: float, lora: bool) -> None:
    made = engine(t2v, matmul="fp8")
    values = VALUES | {"shift": shift, "lora": lora}
    got = made.sample(Values.of(values), None, quiet, never)
    wanted = reference(
        t2v, made.text.encode(VALUES["prompt"]), made.noise(Values.of(values)), shift=shift, lora=lora
    )
    assert distance(got, wanted) < 0.03


def test_a_lora_changes_the_clip_and_its_strength_counts(t2v: wan.Tiny) -> None:
    for matmul, limit in (("exact", 1e-3), ("fp8", 0.03)):
        made = engine(t2v, matmul=matmul)
        clips = {
            strength: made.sample(
                Values.of(VALUES | {"lora_high_strength": strength, "lora_low_strength": strength}),
                None,
                quiet,
                never,
            )
            for strength in (1.0, 0.5, 1.0)
        }
        noise = made.noise(Values.of(VALUES))
        text = made.text.encode(VALUES["prompt"])
        without = reference(t2v, text, noise, shift=5.0, lora=False)
        for strength, clip in clips.items():
            wanted = reference(t2v, text, noise, shift=5.0, lora=True, strength=strength)
            assert distance(clip, wanted) < limit
            assert distance(wanted, without) > 0.01


def test_guidance_off_costs_one_forward_a_step_and_on_two(t2v: wan.Tiny) -> None:
    made = engine(t2v)
    forwards = forwards_counted(made)
    made.sample(Values.of(VALUES), None, quiet, never)
    assert forwards == ["high_noise"] * 2 + ["low_noise"] * 2
    made.sample(
        Values.of(VALUES | {"guidance_scale": 3.5, "lora": False, "num_inference_steps": 6}),
        None,
        quiet,
        never,
    )
    assert len(forwards) == 4 + 12


def test_frames_come_in_order_with_the_right_shape_and_the_seed_decides(t2v: wan.Tiny) -> None:
    made = engine(t2v)
    reports: list[tuple[str, int, int]] = []
    frames = list(made.generate(Values.of(VALUES), None, lambda *now: reports.append(now), never))
    again = list(made.generate(Values.of(VALUES), None, quiet, never))
    other = list(made.generate(Values.of(VALUES | {"seed": 8}), None, quiet, never))
    assert [frame.shape for frame in frames] == [(48, 64, 3)] * 9
    assert all(frame.dtype == np.uint8 for frame in frames)
    assert all((a == b).all() for a, b in zip(frames, again, strict=True))
    assert any((a != b).any() for a, b in zip(frames, other, strict=True))
    assert ("sample", 4, 4) in reports
    assert reports[-1] == ("decode", 9, 9)


def test_streamed_frames_equal_those_decoded_as_a_whole(t2v: wan.Tiny, small: wan.Tiny) -> None:
    for tiny, size in ((t2v, (6, 8)), (small, (4, 4))):
        codec = engine(tiny).codec
        latents = torch.randn(1, codec.channels, 3, *size)
        parts = list(codec.decode(latents))
        assert [len(part) for part in parts] == [1, 4, 4]
        with torch.no_grad():
            whole = reference_vae(tiny, codec).decode(latents * codec.std + codec.mean).sample[0]
        pixels = ((whole.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 3, 0)
        assert (torch.cat(parts).int() - pixels.int()).abs().max() <= 1


def test_the_image_model_keeps_to_its_photo(i2v: wan.Tiny, photo: Path) -> None:
    made = engine(i2v)
    got = made.sample(Values.of(VALUES), photo, quiet, never)
    pixels = torch.from_numpy(np.array(Image.open(photo), dtype=np.float32)).permute(2, 0, 1) / 127.5 - 1
    video = torch.cat([pixels[:, None], torch.zeros(3, 8, 48, 64)], dim=1)[None]
    with torch.no_grad():
        moments = reference_vae(i2v, made.codec).encode(video).latent_dist.mode()
        latent = (moments - made.codec.mean) / made.codec.std
    mask = torch.zeros(1, 4, 3, 6, 8)
    mask[:, :, 0] = 1
    condition = torch.cat([mask, latent], dim=1)
    text = made.text.encode(VALUES["prompt"])
    wanted = reference(i2v, text, made.noise(Values.of(VALUES)), shift=5.0, lora=True, condition=condition)
    assert distance(got, wanted) < 1e-3


def test_the_5b_model_makes_clips_with_and_without_a_photo(small: wan.Tiny, photo: Path) -> None:
    values = VALUES | {"num_frames": 5, "num_inference_steps": 3, "guidance_scale": 5.0, "height": 64}
    Image.open(photo).resize((64, 64)).save(photo)
    for experts in ("resident", "stream"):
        made = engine(small, experts=experts)
        free = list(made.generate(Values.of(values), None, quiet, never))
        tied = made.sample(Values.of(values), photo, quiet, never)
        assert len(free) == 5
        assert free[0].shape == (64, 64, 3)
        latent = made.codec.encode(
            torch.from_numpy(np.array(Image.open(photo)).astype(np.float32)).permute(2, 0, 1)[None, :, None]
            / 127.5
            - 1
        )
        assert torch.equal(tied[:, :, :1], latent)


def test_a_cancelled_job_stops_between_steps_and_the_next_one_runs(t2v: wan.Tiny) -> None:
    made = engine(t2v)
    forwards = forwards_counted(made)
    asked = iter([False, False, True])
    with pytest.raises(Cancel):
        list(made.generate(Values.of(VALUES), None, quiet, lambda: next(asked)))
    assert len(forwards) == 2
    assert len(list(made.generate(Values.of(VALUES), None, quiet, never))) == 9
