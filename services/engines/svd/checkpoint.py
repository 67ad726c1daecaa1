"""Reads an SVD checkpoint: a diffusers folder, every key checked against the model of its config."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from diffusers import AutoencoderKLTemporalDecoder, EulerDiscreteScheduler, UNetSpatioTemporalConditionModel
from safetensors import safe_open
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from bootstrap.errors import KitError
from services.engines.base import Report
from services.engines.start import spans
from services.engines.start.files import Arriving

# Older exports store this counter, which the model makes itself.
HARMLESS_KEYS = frozenset({"vision_model.embeddings.position_ids"})
NAMED_AT_MOST = 5  # keys listed in an error
CONFIG, SCHEDULER = "config.json", "scheduler_config.json"
CLASSES: dict[str, Callable[[dict[str, Any]], nn.Module]] = {
    "image_encoder": lambda config: CLIPVisionModelWithProjection(CLIPVisionConfig.from_dict(config)),
    "vae": AutoencoderKLTemporalDecoder.from_config,
    "unet": UNetSpatioTemporalConditionModel.from_config,
}


@dataclass(frozen=True)
class Checkpoint:
    """The parts, in evaluation mode."""

    unet: UNetSpatioTemporalConditionModel
    vae: AutoencoderKLTemporalDecoder
    image_encoder: CLIPVisionModelWithProjection
    scheduler: EulerDiscreteScheduler
    image_mean: tuple[float, ...]  # of the image encoder's input, for values 0..1
    image_std: tuple[float, ...]


def read(
    folder: Path, device: torch.device, dtype: torch.dtype, arriving: Arriving, report: Report
) -> Checkpoint:
    """Read all parts of ``folder`` to ``device``, each as soon as it is there.

    Raises:
        KitError: a file is absent or not readable, or keys are missing, extra or misshapen.
    """
    files = {part: _weights(folder, part, arriving) for part in CLASSES}
    total = sum(map(arriving.nbytes, files.values()))
    done = 0
    models: dict[str, Any] = {}
    parts = {part: (file, folder / part / CONFIG) for part, file in files.items()}
    for batch in arriving.batches(parts):
        for part in batch:
            report("load", done, total)
            file, config = parts[part]
            nbytes = arriving.nbytes(file)
            with spans.span(spans.file_name(file), nbytes=nbytes):
                models[part] = _fill(CLASSES[part], _config(config), file, device, dtype)
            done += nbytes
            report("load", done, total)
    others = (folder / "feature_extractor" / "preprocessor_config.json", folder / "scheduler" / SCHEDULER)
    arriving.wait(*others)
    processor, scheduler = map(_config, others)
    return Checkpoint(
        **models,
        scheduler=EulerDiscreteScheduler.from_config(scheduler),
        image_mean=tuple(processor["image_mean"]),
        image_std=tuple(processor["image_std"]),
    )


def _weights(folder: Path, part: str, arriving: Arriving) -> Path:
    """The part's weight file: fp16 where there is one, as it is half the bytes."""
    stem = "model" if part == "image_encoder" else "diffusion_pytorch_model"
    names = (f"{stem}.fp16.safetensors", f"{stem}.safetensors")
    for name in names:
        if arriving.is_coming(folder / part / name):
            return folder / part / name
    raise KitError(
        f"{folder / part} holds neither {names[0]} nor {names[1]}",
        fix="fetch the model again, or point the manifest's `pipeline` at a diffusers folder",
    )


def _config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise KitError(f"{path} cannot be read: {error}", fix="fetch the model again") from error
    assert isinstance(config, dict)
    return config


def _fill(
    make: Callable[[dict[str, Any]], nn.Module],
    config: dict[str, Any],
    file: Path,
    device: torch.device,
    dtype: torch.dtype,
) -> nn.Module:
    # Weights stay unmade until the file's own tensors take their place; buffers that no file holds are made.
    with init_empty_weights(include_buffers=False):
        model = make(config)
    with _opened(file, device) as weights:
        expected = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
        found = {key: tuple(weights.get_slice(key).get_shape()) for key in weights.keys()}  # noqa: SIM118
        _check(file, expected, found)
        state = {key: weights.get_tensor(key).to(dtype) for key in expected}
    model.load_state_dict(state, assign=True)
    return model.to(device).eval().requires_grad_(False)  # the buffers too


@contextmanager
def _opened(file: Path, device: torch.device) -> Iterator[Any]:
    try:
        handle = safe_open(file, framework="pt", device=str(device))
    except Exception as error:  # safetensors raises its own class, OSError or a plain Exception
        raise KitError(
            f"{file} is not a readable safetensors file: {error}", fix="fetch the model again"
        ) from error
    with handle as weights:
        yield weights


def _check(file: Path, expected: dict[str, tuple[int, ...]], found: dict[str, tuple[int, ...]]) -> None:
    missing = sorted(expected.keys() - found.keys())
    extra = sorted(found.keys() - expected.keys() - HARMLESS_KEYS)
    misshapen = [
        f"{key} is {list(found[key])} instead of {list(expected[key])}"
        for key in sorted(expected.keys() & found.keys())
        if expected[key] != found[key]
    ]
    complaints = [
        f"{len(keys)} {kind}: {', '.join(keys[:NAMED_AT_MOST])}{', ...' if len(keys) > NAMED_AT_MOST else ''}"
        for kind, keys in (("missing", missing), ("extra", extra), ("misshapen", misshapen))
        if keys
    ]
    if complaints:
        raise KitError(
            f"{file.parent.name}/{file.name} does not fit its config: {'; '.join(complaints)}",
            fix="use the weights and the config.json of the same model",
        )
