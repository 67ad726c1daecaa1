"""Clips of a box, copied to this machine and remembered: none twice, none lost with the box."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bootstrap.rent.clips import Box
from bootstrap.rent.ledger import Entry, Ledger

LOOK_SECONDS = 10.0
TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True)
class Pulled:
    """One round: what came, and what is still to be made."""

    paths: tuple[Path, ...]
    finished: int  # on the box, pulled or not
    coming: int


def once(
    ledger: Ledger,
    entry: Entry,
    url: str,
    folder: Path,
    *,
    token: str | None = None,
    again: bool = False,
    report: Callable[[str], None],
) -> Pulled:
    """Copy every finished clip that is not here yet. ``again``: those that were pulled before, too.

    KitError when the box or the disk does not let it; what came before that is kept.
    """
    paths = []
    with Box(url, token or entry.token, TIMEOUT_SECONDS) as box:
        clips = box.clips()
        for clip in clips.missing(() if again else entry.pulled):
            path = box.copy(clip, folder)
            ledger.pull(entry.label, clip.id)
            report(f"{path}  {path.stat().st_size / 1e6:.1f} MB")
            paths.append(path)
    return Pulled(tuple(paths), len(clips.finished), clips.coming)
