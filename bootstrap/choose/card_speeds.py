"""How long a clip takes on a card: the manifest's measured time, scaled by the dated ``card_speeds.yaml``."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml
from pydantic import BaseModel

from bootstrap.choose.manifest import Manifest

FILE = Path(__file__).with_suffix(".yaml")


class CardSpeeds(BaseModel):
    """How fast cards are against the reference card, on which manifests' ``clip_seconds`` were measured."""

    date: str
    reference: str
    measured: tuple[str, ...]  # cards on which clips were timed; the others are predicted
    speed: dict[str, float]  # 1.0 is the reference card's


@dataclass(frozen=True)
class CardSpeed:
    """One card of the table."""

    name: str
    speed: float
    is_measured: bool


@cache
def card_speeds(file: Path = FILE) -> CardSpeeds:
    return CardSpeeds.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))


def speed_of(gpu: str, speeds: CardSpeeds | None = None) -> CardSpeed | None:
    """By the name that a driver or a marketplace gives; None for a card that is not in the table."""
    table = speeds or card_speeds()
    # "H100" stands in "H100 SXM" and in "H100 NVL": the longest name that fits is the card.
    known = [name for name in table.speed if name.lower() in gpu.lower().replace("_", " ")]
    if not known:
        return None
    name = max(known, key=len)
    return CardSpeed(name, table.speed[name], name in table.measured)


def clip_seconds(model: Manifest, gpu: str, speeds: CardSpeeds | None = None) -> float | None:
    """Of the model's best profile, scaled from the reference card; None when model or card are not known."""
    known = speed_of(gpu, speeds)
    return None if known is None or model.clip_seconds is None else model.clip_seconds / known.speed
