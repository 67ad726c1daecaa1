"""Mistakes in what is where are told before the first step, with the key or the file that is wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from bootstrap.errors import KitError
from services.engines import wan as family
from services.engines.base import Start
from services.engines.wan import text
from services.engines.weights import safetensors
from services.parameters.values import Values
from tests.checkpoints import wan

FIRST = "blocks.0.self_attn.q"
LORA = f"diffusion_model.{FIRST}"


@pytest.fixture(scope="module")
def t2v(tmp_path_factory: pytest.TempPathFactory) -> wan.Tiny:
    return wan.make(tmp_path_factory.mktemp("t2v"))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> wan.Tiny:
    return wan.make(tmp_path_factory.mktemp("5b"), "5b", fp8=False)


def told(tiny: wan.Tiny, **components: Path | None) -> str:
    """The error's text when these components replace the right ones."""
    changed = {role: path for role, path in (tiny.components | components).items() if path is not None}
    with pytest.raises(KitError) as error:
        family.load(tiny.plan(components=changed), Start(lambda *_: None))
    return str(error.value)


def edited(path: Path, folder: Path, edit: Callable[[dict[str, Any]], None]) -> Path:
    tensors = load_file(path)
    edit(tensors)
    save_file(tensors, folder / path.name)
    return folder / path.name


def test_the_other_models_vae_is_named_as_such(t2v: wan.Tiny, small: wan.Tiny) -> None:
    assert "48 latent channels; this model works with 16" in told(t2v, vae=small.components["vae"])
    assert "16 latent channels; this model works with 48" in told(small, vae=t2v.components["vae"])


def test_a_missing_expert_is_told(t2v: wan.Tiny) -> None:
    assert "low_noise is missing" in told(t2v, low_noise=None)
    assert "vae is missing" in told(t2v, vae=None)


def test_swapped_experts_and_loras_are_told_by_their_names(t2v: wan.Tiny) -> None:
    high, low = t2v.components["high_noise"], t2v.components["low_noise"]
    assert "by its name is for the low-noise expert" in told(t2v, high_noise=low, low_noise=high)
    high, low = t2v.components["lora_high"], t2v.components["lora_low"]
    assert "by its name is for the low-noise expert" in told(t2v, lora_high=low, lora_low=high)


def test_one_expert_given_twice_is_told_whatever_the_copy_is_called(t2v: wan.Tiny, tmp_path: Path) -> None:
    copy = tmp_path / "another.safetensors"
    shutil.copy(t2v.components["high_noise"], copy)
    assert "are the same file" in told(t2v, low_noise=copy)
    shutil.copy(t2v.components["lora_low"], copy)
    assert "are the same file" in told(t2v, lora_high=copy)


def test_a_lora_of_another_task_is_told(t2v: wan.Tiny, tmp_path: Path) -> None:
    other = tmp_path / "wan2.2_i2v_lightx2v_4steps_lora_v1_high_noise.safetensors"
    shutil.copy(t2v.components["lora_high"], other)
    assert "made for i2v; this model is t2v" in told(t2v, lora_high=other)
    folder = tmp_path / "Wan2.2-I2V-A14B-4steps-lora-rank64-Seko-V1"  # LightX2V's own files say it here
    folder.mkdir()
    shutil.copy(other, folder / "high_noise_model.safetensors")
    told_by_folder = told(t2v, lora_high=folder / "high_noise_model.safetensors")
    assert "made for i2v; this model is t2v" in told_by_folder


def test_fp8_weights_without_scales_are_told(t2v: wan.Tiny, tmp_path: Path) -> None:
    def bare(tensors: dict[str, Any]) -> None:
        for name in [n for n in tensors if n.endswith(("scale_weight", "scale_input"))]:
            del tensors[name]

    message = told(t2v, high_noise=edited(t2v.components["high_noise"], tmp_path, bare))
    assert "FP8 weights without their scales" in message
    assert "time_embedding.0.weight" in message


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (lambda t: t.pop(f"{FIRST}.bias"), f"1 missing: {FIRST}.bias"),
        (lambda t: t.update({"blocks.0.extra": torch.zeros(1)}), "1 unknown: blocks.0.extra"),
        (
            lambda t: t.update({f"{FIRST}.bias": torch.zeros(3)}),
            f"1 misshapen: {FIRST}.bias is [3], not [64]",
        ),
        (
            lambda t: t.update({"blocks.0.extra.scale_weight": torch.zeros(())}),
            "unknown: blocks.0.extra.scale_weight",
        ),
        (
            lambda t: t.update({f"{FIRST}.weight": torch.zeros(64, 64, dtype=torch.int8)}),
            "stored as torch.int8",
        ),
        (lambda t: t.update({f"{FIRST}.scale_weight": torch.ones(5)}), f"the scale of {FIRST} is [5]"),
        (
            lambda t: t.update({f"{FIRST}.scale_weight": torch.tensor(float("nan"))}),
            f"the scale of {FIRST} is [nan]",
        ),
        (lambda t: t.update({f"{FIRST}.scale_weight": torch.zeros(())}), f"the scale of {FIRST} is [0.0]"),
        (
            lambda t: t.update({f"{FIRST}.scale_weight": torch.tensor(1)}),
            f"the scale of {FIRST} is torch.int64",
        ),
        (lambda t: t.update({f"{FIRST}.weight_scale": torch.ones(())}), f"{FIRST} has 2 scales"),
        (lambda t: t.update({f"{FIRST}.weight": t[f"{FIRST}.weight"].half()}), f"{FIRST} has a scale, and"),
        (lambda t: t.pop(f"{FIRST}.scale_weight"), f"without their scales: {FIRST}.weight"),
        (
            lambda t: t.update({f"{FIRST}.bias": t[f"{FIRST}.bias"].to(torch.float8_e4m3fn)}),
            f"without their scales: {FIRST}.bias",
        ),
        (
            lambda t: t.update({f"{FIRST}.comfy_quant": torch.zeros(3, dtype=torch.uint8)}),
            f"{FIRST}.comfy_quant does not say how",
        ),
        (
            lambda t: t.update({f"{FIRST}.comfy_quant": torch.tensor([91, 93], dtype=torch.uint8)}),
            f"{FIRST}.comfy_quant does not say how",
        ),
        (lambda t: t.update({f"model.diffusion_model.{FIRST}.weight": torch.ones(1)}), "unknown: "),
    ],
)
def test_every_wrong_key_is_named(t2v: wan.Tiny, tmp_path: Path, edit: Any, expected: str) -> None:
    assert expected in told(t2v, low_noise=edited(t2v.components["low_noise"], tmp_path, edit))


def test_another_quantisation_is_refused_by_its_name(t2v: wan.Tiny, tmp_path: Path) -> None:
    about = torch.frombuffer(bytearray(json.dumps({"format": "nvfp4"}).encode()), dtype=torch.uint8)

    def other(tensors: dict[str, Any]) -> None:
        tensors[f"{FIRST}.comfy_quant"] = about

    assert f"{FIRST} is quantised as nvfp4" in told(
        t2v, high_noise=edited(t2v.components["high_noise"], tmp_path, other)
    )
    tensors = load_file(t2v.components["high_noise"])
    stated = json.dumps({"layers": {FIRST: {"format": "mxfp8"}}})
    path = tmp_path / "stated_high_noise.safetensors"
    save_file(tensors, path, metadata={"_quantization_metadata": stated})
    assert f"{FIRST} is quantised as mxfp8" in told(t2v, high_noise=path)


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (lambda t: t.update({f"{LORA}.alpha": torch.tensor(float("nan"))}), "the alpha of"),
        (lambda t: t.update({f"{LORA}.alpha": torch.ones(3)}), "the alpha of"),
        (lambda t: t.update({f"{LORA}.lora_down.weight": torch.zeros(())}), "does not fit this model"),
        (lambda t: t.update({f"{LORA}.lora_down.weight": torch.zeros(8, 64)}), "[64, 16] x [8, 64]"),
        (
            lambda t: t.update(
                {f"{LORA}.lora_down.weight": torch.zeros(0, 64), f"{LORA}.lora_up.weight": torch.zeros(64, 0)}
            ),
            "[64, 0] x [0, 64]",
        ),
        (
            lambda t: t.update({f"{LORA}.lora_down.weight": torch.zeros(16, 64, dtype=torch.int8)}),
            "stored as torch.int8",
        ),
        (lambda t: t.update({f"{LORA}.lora_A.weight": torch.zeros(16, 64)}), "1 unknown"),
        (lambda t: t.update({f"{LORA}.diff_b": torch.zeros(64)}), f"1 unknown: {LORA}.diff_b"),
        (
            lambda t: t.update({f"{LORA.replace('blocks.0', 'blocks.9')}.alpha": torch.ones(())}),
            "1 unknown: diffusion_model.blocks.9",
        ),
    ],
)
def test_every_wrong_part_of_a_lora_is_named(t2v: wan.Tiny, tmp_path: Path, edit: Any, expected: str) -> None:
    assert expected in told(t2v, lora_low=edited(t2v.components["lora_low"], tmp_path, edit))


@pytest.mark.parametrize("stated", ["{", "[]", '{"layers": 3}'])
def test_a_quantisation_that_cannot_be_read_is_told(t2v: wan.Tiny, tmp_path: Path, stated: str) -> None:
    path = tmp_path / "stated_high_noise.safetensors"
    save_file(load_file(t2v.components["high_noise"]), path, metadata={"_quantization_metadata": stated})
    assert "_quantization_metadata does not say how" in told(t2v, high_noise=path)


def test_files_of_other_roles_are_told_by_their_keys(t2v: wan.Tiny, small: wan.Tiny) -> None:
    for role, other in (("high_noise", "vae"), ("vae", "text_encoder"), ("text_encoder", "low_noise")):
        assert "does not fit this model" in told(t2v, **{role: t2v.components[other]})
    assert "is no LoRA for this model" in told(t2v, lora_high=t2v.components["high_noise"])
    assert "patch_embedding.weight is [64, 48, 1, 2, 2], not [64, 16, 1, 2, 2]" in told(
        t2v, high_noise=small.components["transformer"]
    )


def test_one_transformer_where_the_model_has_two_is_told(t2v: wan.Tiny, small: wan.Tiny) -> None:
    one = t2v.components["high_noise"]
    alone = told(t2v, transformer=one, high_noise=None, low_noise=None)
    assert "needs two experts; high_noise and low_noise are missing" in alone
    assert "transformer was named too" in told(t2v, transformer=one)
    two = told(small, transformer=None, high_noise=one, low_noise=t2v.components["low_noise"])
    assert "needs one transformer; transformer is missing" in two


def test_a_tokenizer_that_is_none_or_another_models_is_told(t2v: wan.Tiny, tmp_path: Path) -> None:
    junk = torch.zeros(50, dtype=torch.uint8)
    path = edited(t2v.components["text_encoder"], tmp_path, lambda t: t.update({"spiece_model": junk}))
    assert "is no SentencePiece model" in told(t2v, text_encoder=path)
    config = tmp_path / "configs"
    shutil.copytree(t2v.folder / "configs", config)
    shape = config / "text_encoder" / "config.json"
    shape.write_text(json.dumps(json.loads(shape.read_text()) | {"vocab_size": 8}))

    def few(tensors: dict[str, Any]) -> None:
        tensors["shared.weight"] = tensors["shared.weight"][:8].clone()

    path = edited(t2v.components["text_encoder"], tmp_path, few)
    with pytest.raises(KitError, match="embeds 8 tokens, its tokenizer knows"):
        family.load(
            t2v.plan(components=t2v.components | {"text_encoder": path}, config=str(config)),
            Start(lambda *_: None),
        )


def test_swapped_and_copied_folders_are_told(t2v: wan.Tiny, tmp_path: Path) -> None:
    first, second = tmp_path / "transformer", tmp_path / "transformer_2"
    for folder in (first, second):
        wan.transformer(wan.TRANSFORMER).save_pretrained(folder)
    plain = {"lora_high": None, "lora_low": None}
    assert "for the low-noise expert" in told(t2v, high_noise=second, low_noise=first, **plain)
    copy = tmp_path / "copy" / "transformer_2"
    shutil.copytree(first, copy)
    assert "are the same file" in told(t2v, high_noise=first, low_noise=copy, **plain)
    inside = {"high_noise": second / "diffusion_pytorch_model.safetensors", "low_noise": first}
    assert "for the low-noise expert" in told(t2v, **inside, **plain)


def test_a_folder_that_is_not_whole_is_told(t2v: wan.Tiny, tmp_path: Path) -> None:
    folder = tmp_path / "transformer"
    wan.transformer(wan.TRANSFORMER).save_pretrained(folder, max_shard_size="100KB")
    index, shard = folder / "diffusion_pytorch_model.safetensors.index.json", sorted(folder.glob("*rs"))[1]
    components = {"high_noise": folder, "lora_high": None, "lora_low": None}
    shard.unlink()
    assert f"{shard.name} is not there" in told(t2v, **components)
    for listed in ("{", "{}", '{"weight_map": 3}'):
        index.write_text(listed)
        assert "does not list the weights' files" in told(t2v, **components)
    index.unlink()
    assert "safetensors files and no index" in told(t2v, **components)


def test_a_config_that_is_no_json_is_told(t2v: wan.Tiny, tmp_path: Path) -> None:
    shutil.copytree(t2v.folder / "configs", tmp_path / "configs")
    (tmp_path / "configs" / "vae" / "config.json").write_text("{")
    with pytest.raises(KitError, match="is no JSON"):
        family.load(t2v.plan(config=str(tmp_path / "configs")), Start(lambda *_: None))


def test_a_lora_with_other_keys_or_for_another_width_is_told(t2v: wan.Tiny, tmp_path: Path) -> None:
    def odd(tensors: dict[str, Any]) -> None:
        tensors["diffusion_model.blocks.0.norm3.diff"] = torch.zeros(1)

    assert "1 unknown: diffusion_model.blocks.0.norm3.diff" in told(
        t2v, lora_high=edited(t2v.components["lora_high"], tmp_path, odd)
    )

    def half(tensors: dict[str, Any]) -> None:
        del tensors[f"diffusion_model.{FIRST}.lora_up.weight"]

    assert f"{FIRST} has no up" in told(t2v, lora_low=edited(t2v.components["lora_low"], tmp_path, half))
    wide = tmp_path / "wide_lora_high_noise.safetensors"
    wan.write_lora(wide, wan.random_lora(wan.TRANSFORMER | {"num_attention_heads": 3}))
    assert "does not fit this model" in told(t2v, lora_high=wide)


def test_a_cut_file_and_a_missing_one_are_told(t2v: wan.Tiny, tmp_path: Path) -> None:
    whole = t2v.components["vae"].read_bytes()
    cut = tmp_path / "vae.safetensors"
    cut.write_bytes(whole[: len(whole) // 2])
    assert "is not a whole safetensors file" in told(t2v, vae=cut)
    cut.write_bytes(whole[:100])
    assert "is not a whole safetensors file" in told(t2v, vae=cut)
    assert "is not there" in told(t2v, vae=tmp_path / "absent.safetensors")


def test_both_spellings_and_row_scales_are_read_alike(t2v: wan.Tiny, tmp_path: Path) -> None:
    from services.engines.wan import expert_file, key_map

    model = wan.transformer(wan.TRANSFORMER)
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found = {}
    for spelling in ("scale_weight", "weight_scale"):
        path = tmp_path / f"{spelling}.safetensors"
        wan.write_expert(path, model, spelling=spelling)
        found[spelling] = expert_file.open_expert(path, shapes)
    name = "blocks.0.attn1.to_q.weight"
    scales = [file.scale(name) for file in found.values()]
    assert torch.equal(*scales)
    assert scales[0].shape == (64,)
    tensors = load_file(tmp_path / "weight_scale.safetensors")
    key = f"model.diffusion_model.{key_map.original(name).removesuffix('.weight')}.weight_scale"
    prefixed = {f"model.diffusion_model.{n}": t for n, t in tensors.items()}
    prefixed[key] = torch.arange(64).float()[:, None]
    save_file(prefixed, tmp_path / "rows.safetensors")
    assert torch.equal(
        expert_file.open_expert(tmp_path / "rows.safetensors", shapes).scale(name), torch.arange(64).float()
    )


def test_plain_diffusers_folders_are_read_too(t2v: wan.Tiny, tmp_path: Path) -> None:
    model, codec, encoder = wan.transformer(wan.TRANSFORMER), wan.vae(wan.VAE_21), wan.text_encoder()
    model.save_pretrained(tmp_path / "transformer", max_shard_size="200KB")
    wan.transformer(wan.TRANSFORMER).save_pretrained(tmp_path / "transformer_2")
    codec.save_pretrained(tmp_path / "vae")
    encoder.save_pretrained(tmp_path / "text_encoder")
    (tmp_path / "tokenizer").mkdir()
    (tmp_path / "tokenizer" / "spiece.model").write_bytes(wan.vocabulary())
    assert len(list((tmp_path / "transformer").glob("*.safetensors"))) > 1
    parts = {
        "high_noise": "transformer",
        "low_noise": "transformer_2",
        "vae": "vae",
        "text_encoder": "text_encoder",
    }
    components = {role: tmp_path / folder for role, folder in parts.items()}
    made: Any = family.load(t2v.plan(components=components, defaults={}), Start(lambda *_: None))
    mine = made.experts._experts["high_noise"].model.state_dict()
    assert all(torch.equal(mine[name], tensor) for name, tensor in model.state_dict().items())
    ids = torch.tensor([made.text.ids("a cat walks")])
    with torch.no_grad():
        wanted = encoder(ids).last_hidden_state
    got = made.text.encode("a cat walks")
    assert torch.allclose(got[:, : ids.shape[1]], wanted, atol=1e-4)
    assert not got[:, ids.shape[1] :].any()


def test_prompts_are_cleaned_cut_and_ended(t2v: wan.Tiny) -> None:
    assert text.clean("  a &amp;amp; b\n\tc  ") == "a & b c"
    made: Any = family.load(t2v.plan(), Start(lambda *_: None))
    assert made.text.ids("")[-1] == 1
    assert made.text.ids("a cat  walks") == made.text.ids(" a cat walks\n")
    long = made.text.ids("a cat walks along the beach " * 40)
    assert len(long) == 48
    assert long[-1] == 1


def test_a_masked_padded_prompt_gives_the_same_embedding(t2v: wan.Tiny) -> None:
    """As the diffusers pipeline encodes: padded, masked, then zeros past the end."""
    made: Any = family.load(t2v.plan(), Start(lambda *_: None))
    reference = wan.text_encoder()
    state = wan.dequantised(t2v.components["text_encoder"])
    reference.load_state_dict(state | {"encoder.embed_tokens.weight": state["shared.weight"]})
    ids = made.text.ids("a cat walks")
    padded = torch.tensor([ids + [0] * (48 - len(ids))])
    with torch.no_grad():
        wanted = reference(padded, attention_mask=(padded > 0).long()).last_hidden_state
    wanted[:, len(ids) :] = 0
    assert torch.allclose(made.text.encode("a cat walks"), wanted, atol=1e-4)


def test_odd_requests_are_refused_with_what_would_do(t2v: wan.Tiny) -> None:
    made: Any = family.load(t2v.plan(), Start(lambda *_: None))
    values = {
        "prompt": "",
        "width": 64,
        "height": 48,
        "num_frames": 9,
        "seed": 1,
        "num_inference_steps": 1,
        "shift": 5.0,
    }
    for change, expected in (
        ({"num_frames": 80}, "ask for 77 or 81 frames"),
        ({"width": 60}, "ask for 48 or 64"),
    ):
        with pytest.raises(KitError) as error:
            made.sample(Values.of(values | change), None, lambda *_: None, lambda: False)
        assert expected in str(error.value)
    with pytest.raises(KitError) as error:
        made.sample(Values.of(values), Path("photo.png"), lambda *_: None, lambda: False)
    assert "prompts alone" in str(error.value)


@pytest.mark.parametrize(
    "header",
    [b"[]", b"null", b'{"a": []}', b'{"a": {"shape": [1]}}', b'{"__metadata__": [1]}', b"[" * 100_000],
)
def test_a_header_that_is_none_is_refused(tmp_path: Path, header: bytes) -> None:
    path = tmp_path / "odd.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(16))
    with pytest.raises(KitError, match="its header cannot be read"):
        safetensors.open_weights(path)


def test_a_header_that_lies_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "lie.safetensors"
    header = json.dumps({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 12]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(16))
    with pytest.raises(KitError) as error:
        safetensors.open_weights(path)
    assert "a is said to be at bytes 0 to 12" in str(error.value)
