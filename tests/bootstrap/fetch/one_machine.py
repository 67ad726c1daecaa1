"""A fetch on a machine of its own, of which no other sees a lock: one_machine NAME MANIFEST STORE HUB."""

from __future__ import annotations

import fcntl
import functools
import sys
from pathlib import Path

from bootstrap import fetch
from bootstrap.choose.manifest import Manifest
from bootstrap.fetch import Progress, lease

QUICK = functools.partial(lease.Pace, beat=0.3, silent=5.0, settle=1.0)


def report(progress: Progress) -> None:
    if progress.note and "another kinokit" in progress.note:
        print(progress.note, flush=True)


if __name__ == "__main__":
    name, manifest, store, endpoint = sys.argv[1:]
    fcntl.flock = lambda *_: None  # a network volume that keeps locks to each machine
    lease.machine = lambda home: f"{name}:{home}"
    lease.Pace = QUICK  # type: ignore[assignment, misc]
    fetch.fetch(
        Manifest.model_validate_json(Path(manifest).read_text()),
        store=Path(store),
        token=None,
        endpoint=endpoint,
        connections=2,
        report=report,
    )
