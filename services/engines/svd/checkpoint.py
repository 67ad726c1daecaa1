"""Reads an SVD checkpoint: a diffusers folder, every key checked against the model of its config."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bootstrap.errors import KitError
from services.engines.base import Start
from services.engines.start.files import Arriving
from services.engines.svd.modules.image_encoder import CLIPVisionModelWithProjection
from services.engines.svd.modules.unet import UNetSpatioTemporalConditionModel
from services.engines.svd.modules.vae import AutoencoderKLTemporalDecoder
from services.engines.svd.schedule import Schedule
from services.engines.weights import checkpoint, safetensors
from services.engines.weights.loader import Loader

# Older exports store this counter, which the model makes itself.
HARMLESS_KEYS = frozenset({"vision_model.embeddings.position_ids"})
CONFIG, SCHEDULER = "config.json", "scheduler_config.json"
CLASSES: dict[str, type[nn.Module]] = {
    "image_encoder": CLIPVisionModelWithProjection,
    "vae": AutoencoderKLTemporalDecoder,
    "unet": UNetSpatioTemporalConditionModel,
}


@dataclass(frozen=True)
class Checkpoint:
    """The parts."""

    unet: UNetSpatioTemporalConditionModel
    vae: AutoencoderKLTemporalDecoder
    image_encoder: CLIPVisionModelWithProjection
    schedule: Schedule
    image_mean: tuple[float, ...]  # of the image encoder's input, for values 0..1
    image_std: tuple[float, ...]


def read(
    folder: Path, device: torch.device, dtype: torch.dtype, arriving: Arriving, start: Start
) -> Checkpoint:
    """Read all parts of ``folder`` to ``device``, each as soon as it is there.

    Raises:
        KitError: a file is absent or not readable, or keys are missing, unknown or misshapen.
    """
    files = {part: _weights(folder, part, arriving) for part in CLASSES}
    total = sum(map(arriving.nbytes, files.values()))
    done = 0
    loader = Loader(device, spans=start.spans)
    models: dict[str, Any] = {}
    parts = {part: (file, folder / part / CONFIG) for part, file in files.items()}
    for batch in arriving.batches(parts):
        for part in batch:
            start.report("load", done, total)
            file = files[part]
            models[part] = _filled(part, folder, file, loader, device, dtype)
            done += arriving.nbytes(file)
            start.report("load", done, total)
    return _whole(folder, models, arriving)


def zeros(folder: Path, device: torch.device, dtype: torch.dtype, arriving: Arriving) -> Checkpoint:
    """All parts with zeros for weights, as soon as the configs are there: the same work, another clip.

    Raises:
        KitError: a config is absent or not one of Stable Video Diffusion.
    """
    arriving.wait(*(folder / part / CONFIG for part in CLASSES))
    models = {}
    for part in CLASSES:
        model = models[part] = _shell(part, folder)
        state = {
            key: torch.zeros_like(each, dtype=dtype, device=device)
            for key, each in model.state_dict().items()
        }
        # Shares are read as numbers when the engine takes the model over; a meta tensor has none.
        shares = {key: torch.tensor([0.0], dtype=dtype) for key in state if key.endswith("mix_factor")}
        model.load_state_dict(state | shares, assign=True)
    return _whole(folder, models, arriving)


def _whole(folder: Path, models: dict[str, Any], arriving: Arriving) -> Checkpoint:
    others = (folder / "feature_extractor" / "preprocessor_config.json", folder / "scheduler" / SCHEDULER)
    arriving.wait(*others)
    processor, scheduler = map(_config, others)
    return Checkpoint(
        **models,
        schedule=Schedule.read(scheduler),
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
    if not isinstance(config, dict):
        raise KitError(f"{path} holds no settings", fix="fetch the model again")
    return config


def _shell(part: str, folder: Path) -> nn.Module:
    """The part as its config says, without memory for its weights."""
    config = _config(folder / part / CONFIG)
    with torch.device("meta"):
        return CLASSES[part](config).requires_grad_(False)


def _filled(
    part: str, folder: Path, file: Path, loader: Loader, device: torch.device, dtype: torch.dtype
) -> nn.Module:
    model = _shell(part, folder)
    shapes = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    weights = safetensors.open_weights(file)
    title = f"{file.name} of {file.parent.name}"
    checked = checkpoint.check(weights, shapes, ignored=HARMLESS_KEYS, title=title)
    model.load_state_dict(checked.load(loader, device, dtype), assign=True)
    return model
