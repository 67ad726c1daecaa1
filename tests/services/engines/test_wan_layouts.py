"""The names we read are the published ones: headers rebuilt from them have the published hashes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from diffusers.loaders.single_file_utils import (
    convert_wan_transformer_to_diffusers,
    convert_wan_vae_to_diffusers,
)
from torch import nn
from transformers import UMT5Config, UMT5EncoderModel

from services.engines.wan import key_map, vae_key_map
from tests.checkpoints import wan

CONFIGS = Path(__file__).parents[3] / "services" / "engines" / "wan" / "configs"
BYTES = {"U8": 1, "F8_E4M3": 1, "F16": 2, "F32": 4, "I64": 8}
Table = dict[str, tuple[str, tuple[int, ...]]]


def header_sha256(tensors: Table) -> str:
    """Of the JSON that safetensors' serialiser writes: wide dtypes first, then by name."""
    order = list(BYTES)
    offset, entries = 0, {}
    for name, (dtype, shape) in sorted(tensors.items(), key=lambda item: (-order.index(item[1][0]), item[0])):
        size = BYTES[dtype]
        for extent in shape:
            size *= extent
        entries[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    raw = json.dumps(entries, separators=(",", ":")).encode()
    return hashlib.sha256(raw + b" " * (-len(raw) % 8)).hexdigest()


def config(model: str, part: str) -> dict[str, object]:
    return dict(json.loads((CONFIGS / model / part / "config.json").read_text()))


def transformer_table(model: str, *, fp8: bool) -> Table:
    with torch.device("meta"):
        meta = WanTransformer3DModel.from_config(config(model, "transformer"))
    linears = {f"{name}.weight" for name, module in meta.named_modules() if isinstance(module, nn.Linear)}
    table: Table = {"scaled_fp8": ("F8_E4M3", (0,))} if fp8 else {}
    for name, tensor in meta.state_dict().items():
        key = key_map.original(name)
        table[key] = ("F8_E4M3" if fp8 and name in linears else "F16", tuple(tensor.shape))
        if fp8 and name in linears:
            table |= {key.replace(".weight", s): ("F32", ()) for s in (".scale_weight", ".scale_input")}
    return table


@pytest.mark.parametrize(
    ("model", "fp8", "count", "published"),
    [
        ("wan2.2_t2v_a14b", True, 1908, "5e8e1408bb1f8be9b271978f2acb378be16618eb07e0351dc1b7de0701195b30"),
        ("wan2.2_i2v_a14b", True, 1908, "a904e26816259491a0bc1abf5446a8ba86deae8ff597539619280de3f456fcbb"),
        ("wan2.2_ti2v_5b", False, 825, "7b99ff54748ad753007022b026bb8a1b0ddea568ca3a97b40ef6b12c6d16ae52"),
    ],
)
def test_a_transformer_file_is_read_by_its_published_names(
    model: str, fp8: bool, count: int, published: str
) -> None:
    table = transformer_table(model, fp8=fp8)
    assert len(table) == count
    assert header_sha256(table) == published


def test_a_lora_file_is_read_by_its_published_names() -> None:
    with torch.device("meta"):
        meta = WanTransformer3DModel.from_config(config("wan2.2_t2v_a14b", "transformer"))
    table: Table = {}
    for name, module in meta.named_modules():
        if isinstance(module, nn.Linear) and name.startswith("blocks."):
            key = f"diffusion_model.{key_map.original(name)}"
            table[f"{key}.lora_down.weight"] = ("F32", (64, module.in_features))
            table[f"{key}.lora_up.weight"] = ("F32", (module.out_features, 64))
            table[f"{key}.alpha"] = ("I64", ())
    assert header_sha256(table) == "d65be4ded1d618bd2c8086f909717f99b95d638a74e33429173ee905e56b0636"


def test_the_text_encoder_is_read_by_its_published_names() -> None:
    with torch.device("meta"):
        meta = UMT5EncoderModel(UMT5Config(**config("wan2.2_t2v_a14b", "text_encoder")))
    linears = {f"{name}.weight" for name, module in meta.named_modules() if isinstance(module, nn.Linear)}
    table: Table = {"spiece_model": ("U8", (4548313,)), "scaled_fp8": ("F8_E4M3", (0,))}
    for name, tensor in meta.state_dict().items():
        if "embed_tokens" in name:
            continue
        table[name] = ("F8_E4M3" if name in linears else "F16", tuple(tensor.shape))
        if name in linears:
            table[name.replace(".weight", ".scale_weight")] = ("F32", ())
    assert header_sha256(table) == "50fe9015ebb8094759e108418e179fff9e88c3a558a27472f3718cd021588dc6"


def test_the_2_2_vae_is_read_by_its_published_names() -> None:
    known = {k: v for k, v in config("wan2.2_ti2v_5b", "vae").items() if k != "clip_output"}
    with torch.device("meta"):
        meta = AutoencoderKLWan.from_config(known)
    table: Table = {
        vae_key_map.original(name, resnets=2, nested=True): ("F16", tuple(tensor.shape))
        for name, tensor in meta.state_dict().items()
    }
    assert len(table) == 196
    assert header_sha256(table) == "9f909558eb58ea4d75c9aefe3cef7e54ecd636e02d555f3cbc6225654b29587c"


def test_the_2_1_vae_names_are_those_that_diffusers_converts() -> None:
    model = wan.vae(wan.VAE_21)
    original = {vae_key_map.original(name, resnets=2, nested=False): name for name in model.state_dict()}
    assert len(original) == 194
    assert convert_wan_vae_to_diffusers(dict(original)) == {name: name for name in original.values()}


def test_the_transformer_names_are_those_that_diffusers_converts() -> None:
    model = wan.transformer(wan.TRANSFORMER)
    original = {key_map.original(name): name for name in model.state_dict()}
    assert convert_wan_transformer_to_diffusers(dict(original)) == {name: name for name in original.values()}
