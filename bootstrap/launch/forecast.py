"""What a start will take and cost, before anybody pays: download, load, first clip, from measured rates."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from bootstrap.choose.card_speeds import clip_seconds
from bootstrap.choose.manifest import Manifest
from bootstrap.errors import KitError
from bootstrap.launch import waterfall
from bootstrap.launch.timeline import DOWNLOAD

FILE = Path(__file__).with_suffix(".yaml")
SHORTEST_SECONDS, FEWEST_BYTES = 1.0, 8 * 1024**2  # less says nothing about a link
UNITS = {"k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12}


class Rates(BaseModel):
    """The data file; its comments name the sources."""

    date: str
    before_fetch_seconds: float
    imports_seconds: float
    load_bytes_per_second: dict[str, float]
    load_fixed_seconds: float
    download_over_floor: float


@dataclass(frozen=True)
class Forecast:
    """Seconds; None is what nobody has measured. ``dollars`` covers everything up to the first clip."""

    link_bytes_per_second: float | None
    download_bytes: int
    download_seconds: float | None
    load_seconds: float
    ready_seconds: float | None  # from the command
    first_clip_seconds: float | None
    dollars: float | None
    basis: dict[str, str]  # where link, load and first_clip come from


@cache
def rates(file: Path = FILE) -> Rates:
    return Rates.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))


def predict(
    model: Manifest,
    *,
    missing_bytes: int,
    gpu: str | None,
    link_bytes_per_second: float | None,
    dollars_per_hour: float | None,
    boots: Sequence[Mapping[str, Any]] = (),
) -> Forecast:
    """``gpu`` is the card's name, None for a CPU; ``boots`` are earlier ones of this box, newest first."""
    table = rates()
    basis: dict[str, str] = {}
    link = link_bytes_per_second
    basis["link"] = "as given" if link else "unknown"
    if link is None:
        link = link_of(boots)
        basis["link"] = "measured in the last boot that downloaded" if link else "unknown"
    download = None if missing_bytes and not link else 0.0
    if missing_bytes and link:
        download = missing_bytes / link * table.download_over_floor
    before = _of_model(boots, model.name)
    imports = before.get("imports_seconds", table.imports_seconds)
    load = before.get("load_seconds")
    basis["load"] = "measured in an earlier boot" if load is not None else "table"
    if load is None:
        load = _load_seconds(model, table, gpu, is_cold=missing_bytes == 0)
    ready = None
    if download is not None:
        # Files are loaded while others arrive; the largest may be the last.
        last = load * max(file.bytes for file in model.files) / max(model.download_bytes, 1)
        ready = table.before_fetch_seconds + max(download + last, imports + load)
    clip, basis["first_clip"] = _first_clip(model, gpu, before)
    total = None if ready is None or clip is None else ready + clip
    dollars = None if total is None or dollars_per_hour is None else total / 3600 * dollars_per_hour
    return Forecast(link, missing_bytes, download, load, ready, clip, dollars, basis)


def link_of(boots: Sequence[Mapping[str, Any]]) -> float | None:
    """Bytes a second of the newest boot that downloaded enough to tell."""
    for boot in boots:
        rows = boot.get("timeline") or []
        files = [
            row for row in rows if row["track"] == DOWNLOAD and row["ended_at"] and row["detail"] is None
        ]
        if not files:
            continue
        count = sum(row["bytes"] or 0 for row in files)
        seconds = max(row["ended_at"] for row in files) - min(row["started_at"] for row in files)
        if count >= FEWEST_BYTES and seconds >= SHORTEST_SECONDS:
            return float(count / seconds)
    return None


def link(text: str) -> float:
    """Bytes a second of "1gbit", "250 Mbit/s" or "125MB/s".

    >>> link("1gbit"), link("250 Mbit/s"), link("125MB/s")
    (125000000.0, 31250000.0, 125000000.0)
    """
    found = re.fullmatch(
        r"\s*([0-9]+(?:\.[0-9]+)?)\s*([kmgt])(bit|bits|bps|b)(?:/s|ps)?\s*", text, re.IGNORECASE
    )
    if found is None or float(found[1]) == 0:
        raise KitError(f"--link {text!r} is no speed", fix="write it as 1gbit, 250mbit or 125MB/s")
    in_bytes = found[3] in ("B",)
    return float(found[1]) * UNITS[found[2].lower()] / (1 if in_bytes else 8)


def _of_model(boots: Sequence[Mapping[str, Any]], model: str) -> dict[str, float]:
    """What the newest boot of this model that became ready has measured."""
    for boot in boots:
        found = waterfall.measured(boot)
        if boot.get("model") == model and "ready_seconds" in found:
            return found
    return {}


def _load_seconds(model: Manifest, table: Rates, gpu: str | None, *, is_cold: bool) -> float:
    place = "cpu" if gpu is None else "cuda_cold" if is_cold else "cuda"
    return table.load_fixed_seconds + model.download_bytes / table.load_bytes_per_second[place]


def _first_clip(model: Manifest, gpu: str | None, before: Mapping[str, float]) -> tuple[float | None, str]:
    if "first_clip_seconds" in before:
        return before["first_clip_seconds"], "measured in an earlier boot"
    seconds = clip_seconds(model, gpu) if gpu else None
    if seconds is None:
        return None, "unknown"
    return seconds + model.family.first_clip_extra_seconds, "table"
