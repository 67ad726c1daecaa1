"""What a start will take and cost, before anybody pays: download, load, first clip, from measured rates."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from bootstrap.choose import card_speeds, clip_time
from bootstrap.choose.catalogue import Entry
from bootstrap.choose.clip_time import ClipTime
from bootstrap.choose.manifest import Manifest, Profile
from bootstrap.detect.machine import Finding, Gpu, Machine
from bootstrap.errors import KitError
from bootstrap.launch import waterfall
from bootstrap.launch.link import Usual
from bootstrap.launch.timeline import DOWNLOAD

FILE = Path(__file__).with_suffix(".yaml")
SHORTEST_SECONDS, FEWEST_BYTES = 1.0, 8 * 1024**2  # less says nothing about a link
SLOW_PCIE_SHARE = 0.2  # of a clip; less is no reason to look for another host
UNITS = {"k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12}


class Rates(BaseModel):
    """The data file; its comments name the sources."""

    date: str
    before_fetch_seconds: float
    imports_seconds: float
    load_bytes_per_second: dict[str, float]
    load_fixed_seconds: float
    download_over_floor: float
    package_bytes: dict[str, float]
    usual: Usual


@dataclass(frozen=True)
class Forecast:
    """Seconds; None is what nobody has measured. ``dollars`` covers everything up to the first clip."""

    link_bytes_per_second: float | None
    download_bytes: int  # model and packages
    packages_bytes: int  # of these
    download_seconds: float | None
    load_seconds: float
    ready_seconds: float | None  # from the command
    first_clip_seconds: float | None
    dollars: float | None
    basis: dict[str, str]  # where link, download, load, first_clip and clip come from
    clip_seconds: float | None = None  # each one after the first
    clip_link_seconds: float | None = None  # of these, waiting for what comes through PCIe
    clip_dollars: float | None = None
    pcie: str | None = None  # "PCIe 3 x1"
    before_seconds: float | None = None  # from the container's start to the command: paid already


@dataclass(frozen=True)
class Host:
    """What the forecast asks of a machine. Nothing known: no rate but the table's."""

    gpus: tuple[Gpu, ...] = ()  # those that make clips; none for the CPU
    disk_write_bytes_per_second: float | None = None
    disk_read_bytes_per_second: float | None = None
    before_seconds: float | None = None

    @classmethod
    def of(cls, machine: Machine, judged: Entry, before_seconds: float | None = None) -> Host:
        """The cards that were chosen, which need not be the machine's first."""
        gpus = tuple(gpu for group in judged.choice.gpu_groups for gpu in group)
        return cls(
            gpus, machine.disk_write_bytes_per_second, machine.disk_read_bytes_per_second, before_seconds
        )


@cache
def rates(file: Path = FILE) -> Rates:
    return Rates.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))


def predict(
    model: Manifest,
    profile: Profile,
    host: Host,
    *,
    missing_bytes: int,
    packages_bytes: int = 0,
    link_bytes_per_second: float | None = None,
    dollars_per_hour: float | None = None,
    boots: Sequence[Mapping[str, Any]] = (),
) -> Forecast:
    """``boots`` are earlier ones of this box, newest first."""
    table, before = rates(), _of_model(boots, model.name)
    basis: dict[str, str] = {}
    link, basis["link"] = _link(link_bytes_per_second, boots)
    download, basis["download"] = _download(missing_bytes + packages_bytes, link, host, table)
    imports = before.get("imports_seconds", table.imports_seconds)
    load = before.get("load_seconds")
    basis["load"] = "measured in an earlier boot" if load is not None else "table"
    if load is None:
        load = _load_seconds(model, profile, table, host, is_cold=missing_bytes == 0)
    ready = None
    if download is not None:
        # Files are loaded while others arrive; the largest may be the last.
        last = load * max(file.bytes for file in model.files) / max(model.download_bytes, 1)
        ready = table.before_fetch_seconds + max(download + last, imports + load)
    found = clip_time.slowest(model, profile, host.gpus)
    clip = found[1] if found else None
    first, basis["first_clip"] = _first_clip(model, clip, before)
    basis["clip"] = _basis(clip) if clip else "unknown"
    total = None if ready is None or first is None else ready + first + (host.before_seconds or 0.0)
    return Forecast(
        link_bytes_per_second=link,
        download_bytes=missing_bytes + packages_bytes,
        packages_bytes=packages_bytes,
        download_seconds=download,
        load_seconds=load,
        ready_seconds=ready,
        first_clip_seconds=first,
        dollars=_dollars(total, dollars_per_hour),
        basis=basis,
        clip_seconds=clip.seconds if clip else None,
        clip_link_seconds=clip.link_seconds if clip else None,
        clip_dollars=_dollars(clip.seconds if clip else None, dollars_per_hour),
        pcie=str(found[0].pcie) if found and found[0].pcie else None,
        before_seconds=host.before_seconds,
    )


def packages_bytes(files: Iterable[str]) -> int:
    """What the Python packages of these requirement files weigh; "torch-cuda.txt" begins with "torch"."""
    known = rates().package_bytes
    names = [max((name for name in known if file.startswith(name)), key=len, default=None) for file in files]
    return int(sum(known[name] for name in names if name))


def findings(said: Forecast) -> tuple[Finding, ...]:
    """What the way to the card costs, where it is a good part of a clip."""
    waits, clip = said.clip_link_seconds, said.clip_seconds
    if not waits or clip is None or waits < SLOW_PCIE_SHARE * clip:
        return ()
    dollars = said.clip_dollars
    money = f", ${dollars * waits / clip:.3f} of its ${dollars:.3f}" if dollars else ""
    return (
        Finding(
            "slow_pcie",
            f"the GPU is connected by {said.pcie}: a clip takes {clip:.0f} s,"
            f" {waits:.0f} s of them to wait for its weights{money}",
            "rent a host whose card has more lanes, or a card that holds the whole model",
        ),
    )


def _link(given: float | None, boots: Sequence[Mapping[str, Any]]) -> tuple[float | None, str]:
    if given:
        return given, "as given"
    found = link_of(boots)
    return found, "measured in the last boot that downloaded" if found else "unknown"


def _download(count: int, link: float | None, host: Host, table: Rates) -> tuple[float | None, str]:
    """The disk may take less than the link gives."""
    if not count:
        return 0.0, "nothing to download"
    if not link:
        return None, "unknown"
    disk = host.disk_write_bytes_per_second or link
    basis = "the link's rate" if link <= disk else "the disk's rate"
    return count / min(link, disk) * table.download_over_floor, basis


def _dollars(seconds: float | None, dollars_per_hour: float | None) -> float | None:
    return None if seconds is None or dollars_per_hour is None else seconds / 3600 * dollars_per_hour


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


def _load_seconds(model: Manifest, profile: Profile, table: Rates, host: Host, *, is_cold: bool) -> float:
    """Bytes at the slowest of the ways that they take; what streams stays in host memory."""
    place = "cpu" if not host.gpus else "cuda_cold" if is_cold else "cuda"
    rate = table.load_bytes_per_second[place]
    if is_cold and host.disk_read_bytes_per_second:
        warm = table.load_bytes_per_second["cuda" if host.gpus else "cpu"]
        rate = min(warm, host.disk_read_bytes_per_second)
    streams = profile.transfer is not None and profile.transfer.streamed_gb > 0
    links = [gpu.pcie.bytes_per_second for gpu in host.gpus if gpu.pcie and not streams]
    return table.load_fixed_seconds + model.download_bytes / min([rate, *links])


def _first_clip(
    model: Manifest, clip: ClipTime | None, before: Mapping[str, float]
) -> tuple[float | None, str]:
    if "first_clip_seconds" in before:
        return before["first_clip_seconds"], "measured in an earlier boot"
    if clip is None:
        return None, "unknown"
    return clip.seconds + model.family.first_clip_extra_seconds, _basis(clip)


def _basis(clip: ClipTime) -> str:
    return (
        "measured on such a card"
        if clip.is_measured
        else f"predicted from an {card_speeds.card_speeds().reference}'s"
    )
