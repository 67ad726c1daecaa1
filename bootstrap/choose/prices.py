"""What GPUs cost an hour, roughly: from the dated ``prices.yaml`` beside this file."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import yaml
from pydantic import BaseModel

FILE = Path(__file__).with_name("prices.yaml")
# A card never has all of its memory free: 7 % are kept back.
USABLE_SHARE = 0.93


class Price(BaseModel):
    """One card and its range, in US dollars an hour."""

    name: str
    vram_gib: float
    compute_capability: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.name} ({self.vram_gib:g} GiB) ${self.low:.2f} to ${self.high:.2f}"


class Prices(BaseModel):
    """All cards, and the month when they were looked up ("2026-11")."""

    date: str
    gpus: tuple[Price, ...]


@cache
def load(file: Path = FILE) -> Prices:
    return Prices.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))


def cheapest(
    prices: Prices, vram_gib: float, compute_capability: float | None, count: int = 3
) -> list[Price]:
    """The cards that suffice, cheapest first."""
    able = [
        gpu
        for gpu in prices.gpus
        if gpu.vram_gib * USABLE_SHARE >= vram_gib and gpu.compute_capability >= (compute_capability or 0)
    ]
    return sorted(able, key=lambda gpu: gpu.low)[:count]
