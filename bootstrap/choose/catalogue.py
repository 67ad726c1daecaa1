"""All shipped models, and which of them a machine can run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bootstrap.choose import reading
from bootstrap.choose.manifest import Manifest
from bootstrap.choose.profile import Choice, choose
from bootstrap.choose.refusal import NoFit, no_fit
from bootstrap.detect.machine import Machine

# The bytes of a model that are still to be downloaded: ``fetch.missing_in(data_dir)``.
Missing = Callable[[Manifest], int]


@dataclass(frozen=True)
class Entry:
    """One model on one machine."""

    manifest: Manifest
    choice: Choice
    missing_bytes: int  # what is still to be downloaded


def entries(machine: Machine, missing: Missing) -> list[Entry]:
    """Every shipped model in alphabetical order."""
    return [entry(reading.load(str(path)), machine, missing) for path in reading.shipped().values()]


def entry(manifest: Manifest, machine: Machine, missing: Missing, *, profile: str | None = None) -> Entry:
    """Judge one model; the disk must have room for what is not there yet."""
    download_bytes = missing(manifest)
    chosen = choose(manifest, machine, download_bytes=download_bytes, profile=profile)
    return Entry(manifest, chosen, download_bytes)


def refusal(refused: Entry, machine: Machine, missing: Missing) -> NoFit:
    """The error that explains why the model cannot run here, and names those that can."""
    return no_fit(refused.manifest, refused.choice, machine, runs_here=fitting(entries(machine, missing)))


def fitting(known: Sequence[Entry]) -> list[str]:
    """Names of the models that fit."""
    return [each.manifest.name for each in known if each.choice.profile is not None]
