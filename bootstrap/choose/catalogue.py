"""All models that came with the kit, and which of them a machine can run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bootstrap import fetch
from bootstrap.choose import reading
from bootstrap.choose.manifest import Manifest
from bootstrap.choose.profile import Choice, choose
from bootstrap.choose.refusal import NoFit, no_fit
from bootstrap.detect.machine import Machine


@dataclass(frozen=True)
class Entry:
    """One model on one machine."""

    manifest: Manifest
    choice: Choice
    missing_bytes: int  # what is still to be downloaded


def entries(machine: Machine, data_dir: Path) -> list[Entry]:
    """Every shipped model in alphabetical order."""
    return [entry(reading.load(str(path)), machine, data_dir) for path in reading.shipped().values()]


def entry(manifest: Manifest, machine: Machine, data_dir: Path, *, profile: str | None = None) -> Entry:
    """Judge one model; the disk counts for what is not there yet."""
    missing = fetch.missing_bytes(manifest, store=data_dir / "models")
    return Entry(manifest, choose(manifest, machine, download_bytes=missing, profile=profile), missing)


def refusal(refused: Entry, machine: Machine, data_dir: Path) -> NoFit:
    """The one screen that says why the model cannot run here, and which can."""
    return no_fit(refused.manifest, refused.choice, machine, runs_here=fitting(entries(machine, data_dir)))


def fitting(known: Sequence[Entry]) -> list[str]:
    """Names of the models that fit."""
    return [each.manifest.name for each in known if each.choice.profile is not None]
