"""Rent, own or call an API: what the same clips cost, and from how many on owning or renting is cheaper."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict

from bootstrap.choose import clip_time
from bootstrap.choose.clip_time import ClipTime
from bootstrap.choose.manifest import Manifest
from bootstrap.choose.prices import Price, Prices
from bootstrap.detect.machine import PcieLink
from bootstrap.rent import duration

FILE = Path(__file__).with_name("alternatives.yaml")
LINK_BYTES_PER_SECOND = 60e6  # about 500 Mbit/s, as a middling host gives
PCIE = PcieLink(4, 16)  # as most hosts have


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
    note: str  # what the price is for, in a few words
    ready_dollars: float = 0.0  # of the total, what is paid before the first clip
    seconds: float | None = None  # of a clip; None for an API
    is_measured: bool = False  # seconds, on such a card; else scaled from another's
    detail: str | None = None  # what a purchase is worth


@cache
def load(file: Path = FILE) -> Alternatives:
    return Alternatives.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))


def rows(
    manifest: Manifest, clips: int, prices: Prices, known: Alternatives, kwh: float | None = None
) -> list[Row]:
    """Every way to make ``clips`` clips in one session, cheapest first. ``kwh``: dollars per kWh.

    Own cards come last: their price is the electricity alone.
    """
    kwh = known.electricity_dollars_per_kwh if kwh is None else kwh
    seconds_of_video = clip_length(manifest)
    found = [*_rented(manifest, clips, prices), *_owned(manifest, clips, prices, known, kwh)]
    for api in known.apis:
        each = api.dollars_per_second * seconds_of_video
        note = f"{api.resolution}, ${api.dollars_per_second:.2f} a second"
        found.append(Row("api", api.name, each, each * clips, note))
    return sorted(found, key=lambda row: (row.way == "own", row.dollars_per_clip))


def ready_seconds(manifest: Manifest) -> float:
    """From the order of a box to the first clip that can be made."""
    return duration.START_SECONDS + duration.download_bytes(manifest) / LINK_BYTES_PER_SECOND


def clip_length(manifest: Manifest) -> float:
    """Seconds of video at the model's defaults."""
    return float(manifest.defaults["num_frames"]) / float(manifest.defaults["fps"])


def _rented(manifest: Manifest, clips: int, prices: Prices) -> list[Row]:
    ready = ready_seconds(manifest)
    found = []
    for gpu in prices.gpus:
        time = _time(manifest, gpu)
        if time is None:
            continue
        second = (gpu.low + gpu.high) / 2 / 3600
        total = (ready + clips * time.seconds) * second
        row = Row(
            "rent",
            gpu.name,
            total / clips,
            total,
            f"${gpu.low:.2f} to ${gpu.high:.2f} an hour",
            ready_dollars=ready * second,
            seconds=time.seconds,
            is_measured=time.is_measured,
        )
        found.append(row)
    return found


def _time(manifest: Manifest, gpu: Price) -> ClipTime | None:
    """With the profile that the card gets, in a usual slot."""
    profile = clip_time.profile_of_card(
        manifest, vram_gib=gpu.vram_gib, compute_capability=gpu.compute_capability
    )
    if profile is None:
        return None
    return clip_time.estimate(manifest, profile, gpu.name, pcie_bytes_per_second=PCIE.bytes_per_second)


def _owned(manifest: Manifest, clips: int, prices: Prices, known: Alternatives, kwh: float) -> list[Row]:
    found = []
    for card in known.own:
        listed = next((gpu for gpu in prices.gpus if gpu.name == card.name), None)
        time = _time(manifest, listed) if listed else None
        if time is None:
            continue
        power = time.seconds / 3600 * card.watts / 1000 * kwh
        hours = break_even_hours(card, prices, kwh)
        after = (
            f"pays for itself after {hours:.0f} hours of rent" if hours else "dearer than renting for ever"
        )
        bought = card.dollars + card.rest_of_machine_dollars
        row = Row(
            "own",
            card.name,
            power,
            power * clips,
            "electricity alone",
            seconds=time.seconds,
            is_measured=time.is_measured,
            detail=f"bought for ${bought:.0f} ({card.date}), {after}",
        )
        found.append(row)
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
