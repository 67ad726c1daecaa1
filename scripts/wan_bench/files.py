# ruff: noqa: E501 - tables of settings read best on one line; big files go to the temporary folder
"""Full-size files of random weights in the published layout, as a model's manifest names them."""

from __future__ import annotations

import concurrent.futures
import json
import os
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bootstrap.choose import reading
from bootstrap.choose.manifest import Manifest
from bootstrap.choose.plan import Plan
from services.engines.weights.linear import Linear

from . import device

CONFIGS = Path(__file__).parents[2] / "services" / "engines" / "wan" / "configs"
SIZES = {"U8": 1, "F8_E4M3": 1, "F16": 2, "BF16": 2, "F32": 4, "I64": 8}
POOL_BYTES = 64 * 1024**2


def pools() -> dict[str, memoryview]:
    """Random bytes of each dtype to cut tensors from."""

    def view(tensor: torch.Tensor) -> memoryview:
        return memoryview(tensor.contiguous().view(torch.uint8).cpu().numpy().data)

    normal = torch.randn(POOL_BYTES // 4, device=device.NAME)
    return {
        "F8_E4M3": view((torch.randn(POOL_BYTES, device=device.NAME) * 64).to(torch.float8_e4m3fn)),
        "F16": view((normal * 0.02).half()),
        "BF16": view((normal * 0.02).bfloat16()),
        "F32": view(normal * 0.01),
    }


def write(
    path: Path, tensors: dict[str, tuple[str, tuple[int, ...]]], values: dict[str, bytes], pool: Any
) -> None:
    """A safetensors file in the order that the serialiser uses: wide dtypes first, then by name."""
    if path.exists():
        return
    order = list(SIZES)
    header: dict[str, Any] = {}
    offset = 0
    for name, (dtype, shape) in sorted(tensors.items(), key=lambda item: (-order.index(item[1][0]), item[0])):
        size = SIZES[dtype]
        for extent in shape:
            size *= extent
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    raw = json.dumps(header, separators=(",", ":")).encode()
    raw += b" " * (-len(raw) % 8)
    path.parent.mkdir(parents=True, exist_ok=True)
    turn = zlib.crc32(path.name.encode()) % (POOL_BYTES // 4) // 64 * 64
    with path.open("wb", buffering=0) as file:
        file.write(struct.pack("<Q", len(raw)) + raw)
        for name, about in header.items():
            start, end = about["data_offsets"]
            if name in values:
                file.write(values[name])
                continue
            left = end - start
            while left:
                turn = (turn * 7 + 4096 * 37) % (POOL_BYTES // 2) // 64 * 64
                part = pool[about["dtype"]][turn : turn + min(left, POOL_BYTES // 2)]
                left -= file.write(part)


def f32(value: float) -> bytes:
    return struct.pack("<f", value)


@dataclass(frozen=True)
class Model:
    """Files on this disk, and how the engine is told of them."""

    manifest: Manifest
    components: dict[str, Path]
    configs: Path

    def settings(self, profile: str) -> dict[str, Any]:
        return next(each.settings for each in self.manifest.profiles if each.name == profile)

    def plan(self, settings: Mapping[str, Any], *, profile: str = "bench") -> Plan:
        """For the GPU; its caches and clips lie beside the files."""
        values = self.manifest.model_dump(
            include={"title", "family", "inputs", "defaults", "recipe", "limits"}
        )
        return Plan(
            kit_version="0", model=self.manifest.name, device=device.NAME, profile=profile, settings=dict(settings),
            components=self.components, config=str(self.configs), threads=min(8, os.cpu_count() or 8),
            data_dir=self.configs.parent / "data", **values,
        )  # fmt: skip

    def request(self, **changes: Any) -> dict[str, Any]:
        """The manifest's defaults."""
        width, height = map(int, self.manifest.defaults["size"].split("x"))
        values = {**self.manifest.defaults, "width": width, "height": height, "seed": 7}
        values["prompt"] = "a cat walks along the beach at sunset"
        return {key: value for key, value in values.items() if key != "size"} | changes


def expert_tensors(config: dict[str, Any]) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Of an expert in FP8 with scales."""
    from services.engines.wan import key_map

    tensors: dict[str, Any] = {"scaled_fp8": ("F8_E4M3", (0,))}
    values: dict[str, bytes] = {}
    model = on_meta(config)
    linears = linear_layers(model)
    for name, tensor in model.state_dict().items():
        key = key_map.original(name)
        if name.endswith(".weight") and name.removesuffix(".weight") in linears:
            tensors[key] = ("F8_E4M3", tuple(tensor.shape))
            for kind, value in (("scale_weight", 0.02 / 64), ("scale_input", 1.0)):
                tensors[f"{key.removesuffix('.weight')}.{kind}"] = ("F32", ())
                values[f"{key.removesuffix('.weight')}.{kind}"] = f32(value)
        else:
            tensors[key] = ("F16", tuple(tensor.shape))
            if name.endswith("weight") and tensor.dim() == 1:
                values[key] = ones(tensor)
    return tensors, values


def plain_tensors(config: dict[str, Any]) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Of a transformer in fp16, as the 5B model's is."""
    from services.engines.wan import key_map

    states = {key_map.original(name): tensor for name, tensor in on_meta(config).state_dict().items()}
    norms = {
        key: ones(tensor) for key, tensor in states.items() if key.endswith("weight") and tensor.dim() == 1
    }
    return {key: ("F16", tuple(tensor.shape)) for key, tensor in states.items()}, norms


def lora_tensors(config: dict[str, Any]) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Rank 64, alpha 8, for each linear layer of each block."""
    from services.engines.wan import key_map

    tensors: dict[str, Any] = {}
    alphas: dict[str, bytes] = {}
    for name, module in linear_layers(on_meta(config)).items():
        if name.startswith("blocks."):
            base = f"diffusion_model.{key_map.original(name + '.weight').removesuffix('.weight')}"
            tensors[f"{base}.lora_down.weight"] = ("F32", (64, module.in_features))
            tensors[f"{base}.lora_up.weight"] = ("F32", (module.out_features, 64))
            tensors[f"{base}.alpha"] = ("I64", ())
            alphas[f"{base}.alpha"] = struct.pack("<q", 8)
    return tensors, alphas


def vae_tensors(config: dict[str, Any]) -> tuple[dict[str, Any], dict[str, bytes]]:
    from services.engines.wan import vae_key_map
    from services.engines.wan.autoencoder import Autoencoder, Config

    with torch.device("meta"):
        vae = Autoencoder(Config.read(config))
    tensors, values = {}, {}
    for name, tensor in vae.state_dict().items():
        key = vae_key_map.original(
            name, resnets=config["num_res_blocks"], nested=bool(config.get("is_residual"))
        )
        tensors[key] = ("BF16", tuple(tensor.shape))
        if name.endswith("gamma"):
            values[key] = ones(tensor, torch.bfloat16)
    return tensors, values


def on_meta(config: dict[str, Any]) -> torch.nn.Module:
    from services.engines.wan.transformer import Transformer

    return Transformer(config)


def linear_layers(model: torch.nn.Module) -> dict[str, Linear]:
    return {name: module for name, module in model.named_modules() if isinstance(module, Linear)}


def ones(tensor: torch.Tensor, dtype: torch.dtype = torch.float16) -> bytes:
    return torch.ones(tensor.shape, dtype=dtype).view(torch.uint8).numpy().tobytes()


def make(folder: Path, name: str, layers: int = 0) -> Model:
    """Write what is missing of a shipped model's files; ``layers``: fewer than the real model has."""
    shipped = reading.load(name)
    assert shipped.config is not None
    configs = folder / name / "configs"
    write_configs(CONFIGS / Path(shipped.config).name, configs, layers)
    makers = {
        "transformer": plain_tensors, "high_noise": expert_tensors, "low_noise": expert_tensors, "lora_high": lora_tensors,
        "lora_low": lora_tensors, "text_encoder": text_tensors, "vae": vae_tensors,
    }  # fmt: skip
    about = {
        part: json.loads((configs / part / "config.json").read_text())
        for part in ("transformer", "vae", "text_encoder")
    }
    pool = pools()
    found: dict[str, Path] = {}
    jobs: list[tuple[Path, dict[str, Any], dict[str, bytes]]] = []
    for role, path in shipped.components.items():
        # The text encoder is the same for all models.
        found[role] = folder / ("text" if role == "text_encoder" else name) / Path(path).name
        config = about[role if role in about else "transformer"]
        tensors, values = makers[role](config)
        jobs.append((found[role], tensors, values))
    with concurrent.futures.ThreadPoolExecutor(6) as threads:
        list(threads.map(lambda job: write(job[0], job[1], job[2], pool), jobs))
    return Model(shipped, found, configs)


def write_configs(source: Path, target: Path, layers: int) -> None:
    for file in source.rglob("*.json"):
        about = json.loads(file.read_text())
        if layers and "num_layers" in about:
            about["num_layers"] = layers
        copy = target / file.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(json.dumps(about))


def text_tensors(config: dict[str, Any]) -> tuple[dict[str, Any], dict[str, bytes]]:
    import io

    import sentencepiece

    from services.engines.wan import umt5

    model = umt5.Encoder(config)
    linears = {f"{name}.weight" for name in linear_layers(model)}
    spiece = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["a cat walks along the beach at sunset", "waves roll in, soft light"] * 8),
        model_writer=spiece, vocab_size=60, hard_vocab_limit=False, pad_id=0, eos_id=1, unk_id=2, bos_id=-1, minloglevel=2,
    )  # fmt: skip
    raw = spiece.getvalue()
    tensors: dict[str, Any] = {"spiece_model": ("U8", (len(raw),)), "scaled_fp8": ("F8_E4M3", (0,))}
    values: dict[str, bytes] = {"spiece_model": raw}
    tensors["shared.weight"] = ("F16", (config["vocab_size"], config["d_model"]))
    for name, tensor in model.state_dict().items():
        tensors[name] = ("F8_E4M3" if name in linears else "F16", tuple(tensor.shape))
        if name in linears:
            key = name.replace(".weight", ".scale_weight")
            tensors[key], values[key] = ("F32", ()), f32(0.01 / 64)
        elif tensor.dim() == 1:
            values[name] = torch.ones(tensor.shape, dtype=torch.float16).numpy().tobytes()
    return tensors, values
