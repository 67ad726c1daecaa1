"""How long a clip takes on a card: the manifest's measured time, scaled by the dated ``card_speeds.yaml``."""

from __future__ import annotations

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
    speed: dict[str, float]  # 1.0 is the reference card's


@cache
def card_speeds(file: Path = FILE) -> CardSpeeds:
    return CardSpeeds.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))


def clip_seconds(model: Manifest, gpu: str, speeds: CardSpeeds | None = None) -> float | None:
    """Scaled from the reference card; None when nobody measured the model or the card is not in the table."""
    speed = (speeds or card_speeds()).speed
    # "H100" stands in "H100 SXM" and in "H100 NVL": the longest name that fits is the card.
    known = [name for name in speed if name.lower() in gpu.lower().replace("_", " ")]
    if not known or model.clip_seconds is None:
        return None
    return model.clip_seconds / speed[max(known, key=len)]
