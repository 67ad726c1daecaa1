"""The few-step LoRAs: reads their files strictly, folds alpha once, and merges them into FP8 weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from bootstrap.choose.plan import Plan
from bootstrap.errors import KitError
from services.engines.wan import key_map
from services.engines.weights import fp8_linear
from services.engines.weights import safetensors as files
from services.engines.weights.checkpoint import DENSE
from services.engines.weights.safetensors import Stored
from services.parameters.values import Values

DOWN = ("lora_down", "lora_A")
UP = ("lora_up", "lora_B")
NAMED_AT_MOST = 5
ROLES = {"high_noise": "lora_high", "low_noise": "lora_low"}  # the LoRA of each expert


class Strengths:
    """How much of each expert's LoRA a request gets; what it leaves open is the model's default."""

    def __init__(self, plan: Plan) -> None:
        self._present = ROLES["high_noise"] in plan.components
        self._default = bool(plan.defaults.get("lora", self._present))
        self._strengths = {
            role: float(plan.defaults.get(f"{name}_strength", 1.0)) for role, name in ROLES.items()
        }

    def are_used(self, values: Values | None) -> bool:
        """None asks for a request of defaults."""
        wanted = None if values is None else values.lora
        return self._present and (self._default if wanted is None else bool(wanted))

    def of(self, values: Values | None) -> dict[str, float]:
        """By the expert's role."""
        if not self.are_used(values):
            return dict.fromkeys(ROLES, 0.0)
        if values is None:
            return self._strengths
        given = {"high_noise": values.lora_high_strength, "low_noise": values.lora_low_strength}
        return {
            role: self._strengths[role] if strength is None else float(strength)
            for role, strength in given.items()
        }


@dataclass(frozen=True)
class Pair:
    """The two factors for one linear layer; ``factor`` is alpha / rank, applied where they are used."""

    down: Stored  # [rank, in]
    up: Stored  # [out, rank]
    factor: float

    @property
    def rank(self) -> int:
        return self.down.shape[0]


def open_lora(path: Path, linears: Mapping[str, tuple[int, int]]) -> dict[str, Pair]:
    """The pairs of a file, by the names of diffusers' linear layers; ``linears`` gives their (out, in).

    Raises:
        KitError: a key that is no LoRA pair for one of ``linears``, a pair that is not whole, a wrong shape.
    """
    found = files.open_weights(path)
    ours = {spelling: name for name in linears for spelling in key_map.lora_spellings(name)}
    parts: dict[str, dict[str, Stored]] = {}
    unknown: list[str] = []
    for key, stored in found.stored.items():
        layer, part = _split(key)
        name = ours.get(layer)
        if name and part and part not in parts.setdefault(name, {}):
            parts[name][part] = stored
        else:
            unknown.append(key)
    if unknown or not parts:
        few = ", ".join(sorted(unknown)[:NAMED_AT_MOST]) or "it holds no pair at all"
        raise KitError(
            f"{path.name} is no LoRA for this model: {len(unknown)} unknown: {few}",
            fix="use the LoRA that the manifest names, or leave the LoRAs out",
        )
    return {name: _pair(path, name, pieces, linears[name]) for name, pieces in parts.items()}


def delta(pair: tuple[Tensor, Tensor], factor: float) -> Tensor:
    """up @ down * factor in float32: what the weight gains at strength ``factor / (alpha / rank)``."""
    down, up = pair
    return (up.float() * factor) @ down.float()


def merge(codes: Tensor, scale: Tensor, pair: tuple[Tensor, Tensor], factor: float) -> tuple[Tensor, Tensor]:
    """New codes and row scales of an FP8 weight with the LoRA inside; summed in float32, rounded once."""
    wide = codes.float() * scale[:, None]
    down, up = pair
    wide.addmm_(up.float(), down.float(), alpha=factor)
    return fp8_linear.quantise_rows(wide)


def _split(key: str) -> tuple[str, str | None]:
    """(layer, "down" | "up" | "alpha"); the part is None for anything else."""
    prefix = next(p for p in key_map.LORA_PREFIXES if key.startswith(p))
    bare = key[len(prefix) :]
    if bare.endswith(".alpha"):
        return bare.removesuffix(".alpha"), "alpha"
    layer, _, part = bare.removesuffix(".weight").rpartition(".")
    if part in DOWN:
        return layer, "down"
    if part in UP:
        return layer, "up"
    return layer, None


def _pair(path: Path, name: str, pieces: Mapping[str, Stored], shape: tuple[int, int]) -> Pair:
    layer = key_map.original(name)
    absent = {"down", "up"} - set(pieces)
    if absent:
        raise KitError(f"{path.name}: {layer} has no {' and no '.join(sorted(absent))}", fix="fetch it again")
    down, up = pieces["down"], pieces["up"]
    rank = down.shape[0] if down.shape else 0
    if not rank or down.shape != (rank, shape[1]) or up.shape != (shape[0], rank):
        raise KitError(
            f"{path.name} does not fit this model: {layer} is {list(up.shape)} x {list(down.shape)}, "
            f"the weight {list(shape)}",
            fix="use the LoRA that was made for this model",
        )
    for stored in (down, up):
        if stored.dtype not in DENSE:
            raise KitError(
                f"{path.name}: {layer} is stored as {stored.dtype}, which the kit does not read",
                fix="use a LoRA in F32, F16 or BF16",
            )
    alpha = _alpha(path, layer, pieces["alpha"]) if "alpha" in pieces else float(rank)
    return Pair(down, up, alpha / rank)


def _alpha(path: Path, layer: str, stored: Stored) -> float:
    value = torch.empty(stored.shape, dtype=stored.dtype)
    files.read_into(value, stored)
    if value.numel() != 1 or not math.isfinite(float(value)):
        raise KitError(f"{path.name}: the alpha of {layer} is no number", fix="fetch it again")
    return float(value)
