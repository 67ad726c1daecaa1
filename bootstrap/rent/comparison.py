"""Rent, own or call an API: what the same clips cost, and from how many on owning or renting is cheaper."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict

from bootstrap.choose.card_speeds import clip_seconds
from bootstrap.choose.manifest import Manifest
from bootstrap.choose.prices import USABLE_SHARE, Prices
from bootstrap.rent.cost import PACKAGES_BYTES, START_SECONDS

FILE = Path(__file__).with_name("alternatives.yaml")
LINK_BYTES_PER_SECOND = 60e6  # about 500 Mbit/s, as a middling host gives


class Own(BaseModel):
    """A card that one could buy, and what it draws from the wall at work."""

    model_config = ConfigDict(frozen=True)
    name: str
    dollars: float
    rest_of_machine_dollars: float
    watts: float
    date: str


class Api(BaseModel):
    """A commercial service, billed by the second of video."""

    model_config = ConfigDict(frozen=True)
    name: str
    dollars_per_second: float
    resolution: str
    date: str


class Alternatives(BaseModel):
    """The data file."""

    own: tuple[Own, ...]
    electricity_dollars_per_kwh: float
    apis: tuple[Api, ...]


@dataclass(frozen=True)
class Row:
    """One way to make the clips."""

    way: str  # rent, own, api
    name: str
    dollars_per_clip: float
    total_dollars: float
    note: str
    ready_dollars: float = 0.0  # of the total, what is paid before the first clip


@cache
def load(file: Path = FILE) -> Alternatives:
    return Alternatives.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))


def rows(
    manifest: Manifest, clips: int, prices: Prices, known: Alternatives, kwh: float | None = None
) -> list[Row]:
    """Every way to make ``clips`` clips in one session, cheapest first. ``kwh``: dollars per kWh."""
    kwh = known.electricity_dollars_per_kwh if kwh is None else kwh
    seconds_of_video = clip_length(manifest)
    found = [*_rented(manifest, clips, prices), *_owned(manifest, clips, prices, known, kwh)]
    for api in known.apis:
        each = api.dollars_per_second * seconds_of_video
        note = f"{api.resolution}, ${api.dollars_per_second:.2f} a second ({api.date})"
        found.append(Row("api", api.name, each, each * clips, note))
    return sorted(found, key=lambda row: row.dollars_per_clip)


def clip_length(manifest: Manifest) -> float:
    """Seconds of video at the model's defaults."""
    return float(manifest.defaults["num_frames"]) / float(manifest.defaults["fps"])


def _rented(manifest: Manifest, clips: int, prices: Prices) -> list[Row]:
    size = sum(file.bytes for file in manifest.files) + PACKAGES_BYTES
    ready = START_SECONDS + size / LINK_BYTES_PER_SECOND
    smallest = min(profile.needs.vram_gib for profile in manifest.profiles if profile.needs.device == "cuda")
    found = []
    for gpu in prices.gpus:
        seconds = clip_seconds(manifest, gpu.name)
        if seconds is None or gpu.vram_gib * USABLE_SHARE < smallest:
            continue
        second = (gpu.low + gpu.high) / 2 / 3600
        total = (ready + clips * seconds) * second
        note = f"${gpu.low:.2f} to ${gpu.high:.2f} an hour ({prices.date}), {ready / 60:.0f} min until ready"
        found.append(Row("rent", gpu.name, total / clips, total, note, ready * second))
    return found


def _owned(manifest: Manifest, clips: int, prices: Prices, known: Alternatives, kwh: float) -> list[Row]:
    found = []
    for card in known.own:
        seconds = clip_seconds(manifest, card.name)
        if seconds is None:
            continue
        power = seconds / 3600 * card.watts / 1000 * kwh
        hours = break_even_hours(card, prices, kwh)
        after = (
            f"pays for itself after {hours:.0f} hours of rent" if hours else "dearer than renting for ever"
        )
        bought = card.dollars + card.rest_of_machine_dollars
        note = f"electricity only; bought for ${bought:.0f} ({card.date}), {after}"
        found.append(Row("own", card.name, power, power * clips, note))
    return found


def break_even_hours(card: Own, prices: Prices, kwh: float) -> float | None:
    """Hours of work after which buying is cheaper than renting the same card; None when it never is."""
    rented = next((gpu for gpu in prices.gpus if gpu.name == card.name), None)
    if rented is None:
        return None
    saved = (rented.low + rented.high) / 2 - card.watts / 1000 * kwh
    return (card.dollars + card.rest_of_machine_dollars) / saved if saved > 0 else None


def session_break_even(rented: Row, api: Row, clips: int) -> int | None:
    """Clips of one session from which ``rented`` costs less than ``api``; None when it never does."""
    marginal = (rented.total_dollars - rented.ready_dollars) / clips
    saved = api.dollars_per_clip - marginal
    return math.floor(rented.ready_dollars / saved) + 1 if saved > 0 else None
