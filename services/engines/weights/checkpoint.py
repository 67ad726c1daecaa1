"""A weight file, held against its model's tensors: every key known, none missing, none misshapen.

Quantised weights must be plain E4M3 with one scale a tensor or one a row, which lies beside the weight.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bootstrap.errors import KitError
from services.engines.weights.loader import Loader
from services.engines.weights.safetensors import Stored, Weights, read

NAMED_AT_MOST = 5
FP8 = torch.float8_e4m3fn
DENSE = (torch.float16, torch.bfloat16, torch.float32)
QUANTISATION = "_quantization_metadata"
FP8_FORMAT = "float8_e4m3fn"
# Tensors beside a layer's weight that say how it is quantised, in both spellings; and a file's marker.
SCALES = ("scale_weight", "weight_scale")
SIDECARS = (*SCALES, "scale_input", "input_scale", "comfy_quant")
MARKER = "scaled_fp8"


@dataclass(frozen=True)
class Checkpoint:
    """Where each tensor of the model lies in its file, under the model's own names."""

    weights: Weights
    stored: dict[str, Stored]
    scales: dict[str, Stored]  # of FP8 weights, by the weight's name: [] or [out] or [out, 1]

    def is_fp8(self, name: str) -> bool:
        return self.stored[name].dtype == FP8

    def scale(self, name: str) -> Tensor:
        """The scale of each row of an FP8 weight, float32 [out], on the CPU."""
        scale = read(self.scales[name]).float().reshape(-1)
        return scale.expand(self.stored[name].shape[0]).contiguous()

    def widen(self, name: str, raw: Tensor) -> Tensor:
        """What a tensor's bytes mean, float32: those of FP8 times their scales."""
        wide = raw.float()
        if not self.is_fp8(name):
            return wide
        return wide * self.scale(name).to(raw.device).view(-1, *[1] * (raw.ndim - 1))

    def load(self, loader: Loader, device: torch.device, dtype: torch.dtype) -> dict[str, Tensor]:
        """All tensors in ``dtype`` on ``device``, by the model's names."""
        raw = {n: torch.empty(s.shape, dtype=s.dtype, device=device) for n, s in self.stored.items()}
        loader.load((self.stored[name], tensor) for name, tensor in raw.items())
        return {n: t if t.dtype == dtype else self.widen(n, t).to(dtype) for n, t in raw.items()}


def check(
    weights: Weights,
    shapes: Mapping[str, tuple[int, ...]],
    *,
    spelled: Mapping[str, str] | None = None,
    ignored: Collection[str] = (),
    title: str | None = None,
) -> Checkpoint:
    """Hold a file's tensors against ``shapes``, the model's.

    ``spelled`` gives the file's name of each of the model's tensors, where they differ. ``ignored`` may be in
    the file and is not read. ``title`` is what an error calls the file.

    Raises:
        KitError: names what is missing, unknown or misshapen, or quantised in a way that the kit cannot read.
    """
    names = {name: name for name in shapes} if spelled is None else spelled
    path = weights.path if title is None else Path(title)
    stored = {name: entry for name, entry in weights.stored.items() if name not in (MARKER, *ignored)}
    sidecars = {name: stored.pop(name) for name in list(stored) if name.rpartition(".")[2] in SIDECARS}
    _check_keys(path, {theirs: shapes[name] for name, theirs in names.items()}, stored)
    _check_formats(path, weights, sidecars)
    mine = {name: stored[theirs] for name, theirs in names.items()}
    scales = _scales(path, names, mine, sidecars)
    _check_sidecars(path, set(names.values()), sidecars)
    return Checkpoint(weights, mine, scales)


def _check_keys(path: Path, wanted: Mapping[str, tuple[int, ...]], stored: Mapping[str, Stored]) -> None:
    missing = sorted(set(wanted) - set(stored))
    unknown = sorted(set(stored) - set(wanted))
    misshapen = [
        f"{name} is {list(stored[name].shape)}, not {list(shape)}"
        for name, shape in sorted(wanted.items())
        if name in stored and stored[name].shape != tuple(shape)
    ]
    wrong = (("missing", missing), ("unknown", unknown), ("misshapen", misshapen))
    problems = [f"{len(keys)} {what}: {few(keys)}" for what, keys in wrong if keys]
    if problems:
        raise misfit(path, "; ".join(problems))


def _check_formats(path: Path, weights: Weights, sidecars: Mapping[str, Stored]) -> None:
    """Every stated quantisation must be plain E4M3 with scales."""
    formats = {}
    for name, stored in sidecars.items():
        if name.endswith(".comfy_quant"):
            stated = read(stored).view(torch.uint8).numpy().tobytes()
            formats[name.rpartition(".")[0]] = _document(path, name, stated)
    if QUANTISATION in weights.metadata:
        formats |= _document(path, QUANTISATION, weights.metadata[QUANTISATION].encode(), "layers")
    for layer, about in formats.items():
        kind = about.get("format") if isinstance(about, dict) else about
        if kind != FP8_FORMAT:
            raise KitError(
                f"{path.name}: {layer} is quantised as {kind}, which the kit does not read",
                fix=f"use the {FP8_FORMAT} file of this model",
            )


def _document(path: Path, name: str, raw: bytes, part: str | None = None) -> dict[str, Any]:
    """A JSON object, or one of its parts."""
    try:
        found = json.loads(raw)
    except ValueError:  # no JSON, or no text at all
        found = None
    if part and isinstance(found, dict):
        found = found.get(part, {})
    if not isinstance(found, dict):
        raise KitError(
            f"{path.name}: {name} does not say how the weights are quantised", fix="fetch the file again"
        )
    return found


def _scales(
    path: Path, spelled: Mapping[str, str], stored: Mapping[str, Stored], sidecars: Mapping[str, Stored]
) -> dict[str, Stored]:
    scales: dict[str, Stored] = {}
    bare: list[str] = []
    for name, entry in stored.items():
        if entry.dtype not in (FP8, *DENSE):
            raise KitError(
                f"{path.name}: {spelled[name]} is stored as {entry.dtype}, which no weight of this model is",
                fix="use a file in F32, F16, BF16 or F8_E4M3",
            )
        layer, _, leaf = spelled[name].rpartition(".")
        given = [sidecars[f"{layer}.{s}"] for s in SCALES if f"{layer}.{s}" in sidecars]
        given = given if leaf == "weight" else []
        if len(given) > 1 or (given and entry.dtype != FP8):
            what = f"{len(given)} scales" if len(given) > 1 else f"a scale, and is stored as {entry.dtype}"
            raise KitError(f"{path.name}: {layer} has {what}", fix="use a file with one scale an FP8 weight")
        if entry.dtype != FP8:
            continue
        if not given:
            bare.append(spelled[name])
            continue
        _check_scale(path, layer, given[0], entry)
        scales[name] = given[0]
    if bare:
        raise KitError(
            f"{path.name} holds FP8 weights without their scales: {few(bare)}",
            fix="use the fp8_scaled file; plain FP8 files lack what the numbers mean",
        )
    return scales


def _check_scale(path: Path, layer: str, scale: Stored, weight: Stored) -> None:
    if scale.shape not in ((), (1,), weight.shape[:1], (weight.shape[0], 1)):
        raise KitError(
            f"{path.name}: the scale of {layer} is {list(scale.shape)} for {list(weight.shape)}",
            fix="use a file with one scale a tensor or one a row",
        )
    values = read(scale) if scale.dtype in DENSE else None
    # A row of zeros may have the scale 0; a whole layer of them would show as a bad clip only.
    if values is None or not values.isfinite().all() or values.min() < 0 or not values.any():
        shown = scale.dtype if values is None else values.flatten()[:3].tolist()
        raise KitError(
            f"{path.name}: the scale of {layer} is {shown}, which no weight can be multiplied by",
            fix="fetch it again, or use another fp8_scaled file",
        )


def misfit(path: Path, problem: str) -> KitError:
    """The error of a file that is not the model's."""
    return KitError(
        f"{path.name} does not fit this model: {problem}",
        fix="use the file that the manifest names for this model, or a config that fits the file",
    )


def _check_sidecars(path: Path, known: set[str], sidecars: Mapping[str, Stored]) -> None:
    stray = sorted(name for name in sidecars if f"{name.rpartition('.')[0]}.weight" not in known)
    if stray:
        raise misfit(path, f"{len(stray)} unknown: {few(stray)}")


def few(keys: list[str]) -> str:
    """The first keys of a list, for an error."""
    more = f" and {len(keys) - NAMED_AT_MOST} more" if len(keys) > NAMED_AT_MOST else ""
    return ", ".join(keys[:NAMED_AT_MOST]) + more
