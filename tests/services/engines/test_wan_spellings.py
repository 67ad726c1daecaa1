"""One model may be written in many ways; plain diffusers in float32 agrees with each."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from services.parameters.values import Values
from tests.checkpoints import wan
from tests.services.engines import test_wan

FP8 = torch.float8_e4m3fn
LIMIT = 1e-4  # relative L2 of the latents
State = dict[str, Tensor]


@pytest.fixture(scope="module")
def t2v(tmp_path_factory: pytest.TempPathFactory) -> wan.Tiny:
    return wan.make(tmp_path_factory.mktemp("t2v"))


def rewritten(
    tiny: wan.Tiny, folder: Path, roles: tuple[str, str], edit: Callable[[State], State]
) -> wan.Tiny:
    """The same model with two of its files edited."""
    changed = dict(tiny.components)
    for role in roles:
        changed[role] = folder / tiny.components[role].name
        edited = edit(load_file(tiny.components[role]))
        save_file({name: tensor.contiguous() for name, tensor in edited.items()}, changed[role])
    return replace(tiny, components=changed)


def error(tiny: wan.Tiny, limit: float = LIMIT, matmul: str = "exact", **asked: float) -> None:
    made = test_wan.engine(tiny, matmul=matmul)
    values = test_wan.VALUES | asked
    got = made.sample(Values.of(values), None, test_wan.quiet, test_wan.never)
    text, noise = made.text.encode(values["prompt"]), made.noise(Values.of(values))
    wanted = test_wan.reference(
        tiny, text, noise, shift=values["shift"], lora=True, steps=values["num_inference_steps"],
        strengths=(values["lora_high_strength"], values["lora_low_strength"]),
    )  # fmt: skip
    assert test_wan.distance(got, wanted) < limit


def renamed(*pairs: tuple[str, str]) -> Callable[[State], State]:
    def edit(state: State) -> State:
        out = {}
        for name, tensor in state.items():
            for old, new in pairs:
                name = name.replace(old, new)
            out[name] = tensor
        return out

    return edit


def newer(state: State) -> State:
    """ComfyUI's newer spelling: ``comfy_quant`` beside each weight, no marker."""
    out = renamed(("scale_weight", "weight_scale"), ("scale_input", "input_scale"))(state)
    about = torch.frombuffer(bytearray(json.dumps({"format": "float8_e4m3fn"}).encode()), dtype=torch.uint8)
    layers = [name.removesuffix(".weight_scale") for name in out if name.endswith(".weight_scale")]
    out |= {f"{layer}.comfy_quant": about.clone() for layer in layers}
    del out["scaled_fp8"]
    return out


def by_row(state: State) -> State:
    """One scale a row, as [out] in one half of the layers and as [out, 1] in the other."""
    for number, key in enumerate([name for name in state if name.endswith(".scale_weight")]):
        weight = key.replace("scale_weight", "weight")
        wide = state[weight].float() * state[key]
        scale = wide.abs().amax(dim=1, keepdim=True) / 448
        state[weight], state[key] = (wide / scale).to(FP8), scale if number % 2 else scale.flatten()
    return state


def dense(dtype: torch.dtype) -> Callable[[State], State]:
    def edit(state: State) -> State:
        out = {}
        for name, tensor in state.items():
            scale = state.get(name.replace(".weight", ".scale_weight")) if name.endswith(".weight") else None
            if not name.endswith(("scale_weight", "scale_input", "scaled_fp8")):
                out[name] = (tensor.float() * (1.0 if scale is None else scale)).to(dtype)
        return out

    return edit


def narrow_patches(state: State) -> State:
    patches = state["patch_embedding.weight"].float()
    scale = patches.abs().max() / 448
    return state | {
        "patch_embedding.weight": (patches / scale).to(FP8),
        "patch_embedding.scale_weight": scale,
    }


def without(ending: str) -> Callable[[State], State]:
    return lambda state: {name: tensor for name, tensor in state.items() if not name.endswith(ending)}


EXPERTS: dict[str, Callable[[State], State]] = {
    "weight_scale and comfy_quant": newer,
    "row scales": by_row,
    "row scales, newer": lambda state: newer(by_row(state)),
    "ComfyUI's prefix": lambda state: {f"model.diffusion_model.{n}": t for n, t in state.items()},
    "a marker outside of the prefix": lambda state: {
        n if n == "scaled_fp8" else f"model.diffusion_model.{n}": t for n, t in state.items()
    },
    "no input scales": without("scale_input"),
    "no marker": without("scaled_fp8"),
    "a marker of two": lambda state: state | {"scaled_fp8": torch.zeros(2, dtype=FP8)},
    "bfloat16 scales of one": lambda state: {
        n: t.bfloat16().reshape(1) if n.endswith("scale_weight") else t for n, t in state.items()
    },
    "FP8 patches": narrow_patches,
    "fp16": dense(torch.float16),
    "bf16": dense(torch.bfloat16),
    "fp32": dense(torch.float32),
}


@pytest.mark.parametrize("name", EXPERTS)
def test_an_expert_file_means_the_same_however_it_is_written(
    t2v: wan.Tiny, tmp_path: Path, name: str
) -> None:
    error(rewritten(t2v, tmp_path, ("high_noise", "low_noise"), EXPERTS[name]))


def layer_of(key: str) -> int:
    return int(key.split(".")[2])


def cut(state: State) -> State:
    """Another rank in each block."""
    out = {}
    for key, tensor in state.items():
        rank = 4 + layer_of(key)
        out[key] = tensor[:rank] if "down" in key else tensor[:, :rank] if "lora_up" in key else tensor
    return out


def outside(state: State) -> State:
    torch.manual_seed(4)
    for layer, (out, inner) in {
        "head.head": (64, 64),
        "time_embedding.0": (64, 64),
        "text_embedding.0": (64, 32),
    }.items():
        state[f"diffusion_model.{layer}.lora_down.weight"] = torch.randn(4, inner) * 0.1
        state[f"diffusion_model.{layer}.lora_up.weight"] = torch.randn(out, 4) * 0.1
    return state


def kohya(state: State) -> State:
    out = {}
    for key, tensor in state.items():
        layer, part = key.removeprefix("diffusion_model.").split(".lora_")[0], key.partition(".lora_")[2]
        layer = layer.removesuffix(".alpha")
        out[f"lora_unet_{layer.replace('.', '_')}{f'.lora_{part}' if part else '.alpha'}"] = tensor
    return out


LORAS: dict[str, Callable[[State], State]] = {
    "no alpha": lambda state: {
        k: t / 8 if "lora_up" in k else t for k, t in state.items() if not k.endswith("alpha")
    },
    "an alpha of each block": lambda state: {
        k: torch.tensor([1.5 + layer_of(k)]) if k.endswith("alpha") else t for k, t in state.items()
    },
    "bfloat16": lambda state: {k: t.bfloat16() for k, t in state.items()},
    "a rank of each block": cut,
    "no prefix": renamed(("diffusion_model.", "")),
    "lora_A and lora_B": renamed(("lora_down", "lora_A"), ("lora_up", "lora_B")),
    "lora_unet": kohya,
    "some layers only": lambda state: {k: t for k, t in state.items() if ".ffn." in k and layer_of(k) != 1},
    "layers outside of the blocks": outside,
}


@pytest.mark.parametrize("name", LORAS)
def test_a_lora_counts_the_same_however_it_is_written(t2v: wan.Tiny, tmp_path: Path, name: str) -> None:
    tiny = rewritten(t2v, tmp_path, ("lora_high", "lora_low"), LORAS[name])
    error(tiny)
    error(tiny, matmul="fp8", limit=0.04)


def test_each_expert_has_its_own_strength(t2v: wan.Tiny) -> None:
    error(t2v, lora_high_strength=0.4, lora_low_strength=1.3)
    error(t2v, lora_high_strength=0.0, lora_low_strength=1.0)


@pytest.mark.parametrize("steps", [1, 2, 3, 6, 8])
def test_other_numbers_of_steps_are_shared_between_the_experts(t2v: wan.Tiny, steps: int) -> None:
    made = test_wan.engine(t2v)
    values = test_wan.VALUES | {"num_inference_steps": steps}
    got = made.sample(Values.of(values), None, test_wan.quiet, test_wan.never)
    text, noise = made.text.encode(values["prompt"]), made.noise(Values.of(values))
    first = max(1, round(steps / 2))
    wanted = test_wan.reference(t2v, text, noise, shift=5.0, lora=True, steps=steps, high_steps=first)
    assert test_wan.distance(got, wanted) < LIMIT


@pytest.mark.parametrize("experts", ["resident", "stream"])
def test_guidance_without_loras_follows_the_noise_level(t2v: wan.Tiny, experts: str) -> None:
    made = test_wan.engine(t2v, experts=experts)
    values = test_wan.VALUES | {"lora": False, "guidance_scale": 3.5, "negative_prompt": "rain", "shift": 8.0}
    values |= {"num_inference_steps": 20}
    forwards = test_wan.forwards_counted(made)
    got = made.sample(Values.of(values), None, test_wan.quiet, test_wan.never)
    wanted = test_wan.reference(
        t2v, made.text.encode(values["prompt"]), made.noise(Values.of(values)),
        shift=8.0, lora=False, steps=20, guidance=3.5, negative=made.text.encode("rain"),
    )  # fmt: skip
    assert test_wan.distance(got, wanted) < LIMIT
    assert len(forwards) == 40


def test_an_fp8_table_of_tokens_is_read_with_its_scale(t2v: wan.Tiny, tmp_path: Path) -> None:
    def edit(state: State) -> State:
        scale = state["shared.weight"].float().abs().max() / 448
        codes = (state["shared.weight"].float() / scale).to(FP8)
        return state | {"shared.weight": codes, "shared.scale_weight": scale}

    path = tmp_path / "text.safetensors"
    save_file(edit(load_file(t2v.components["text_encoder"])), path)
    changed = replace(t2v, components=t2v.components | {"text_encoder": path})
    plain = test_wan.engine(t2v).text.encode("a cat walks")
    assert test_wan.distance(test_wan.engine(changed).text.encode("a cat walks"), plain) < 0.05
