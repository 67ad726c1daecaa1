"""A data directory that several boxes share: the models are of all, everything else is each box's own.

<volume>/models, <volume>/cache   shared: fetched files, compiled code
<volume>/boxes/<name>/            what one box keeps: its queue, clips, token, logs
Where a box has no name, the volume is its own and these are one and the same directory.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import time
from contextlib import suppress
from pathlib import Path

BOXES = "boxes"
LOCK = "agent.lock"
ALIVE = "alive"  # touched while the box runs, so that boxes elsewhere know: no lock is seen across machines
BEAT_SECONDS = 60.0
SILENT_SECONDS = 600.0
SWEPT_SECONDS = 24 * 3600.0  # a marketplace may freeze a worker for hours, and wake it
SHORT_LIVED = "short-lived"
# What a box kept at the top while a volume had one box only; the token comes last: it says that all is there.
KEPT_AT_THE_TOP = (
    *("jobs.db-wal", "jobs.db-shm", "jobs.db", "jobs", "boots", "keys.json", "sessions.json"),
    *("worker-token", "token"),
)


def of_box(top: Path, box: str | None) -> Path:
    """The data directory of the box of this name; the volume's top where it has none.

    A directory that is a box's already stays what it is.
    """
    if box is None or top.parent.name == BOXES:
        return top
    return top / BOXES / (re.sub(r"[^A-Za-z0-9._-]", "-", box).lstrip(".") or "box")


def top(data_dir: Path) -> Path:
    """Where the models and the compiled code of this box lie, which it may share with others."""
    return data_dir.parent.parent if data_dir.parent.name == BOXES else data_dir


def models(data_dir: Path) -> Path:
    return top(data_dir) / "models"


def cache(data_dir: Path) -> Path:
    """Compiled code: its files are named by what they were compiled for."""
    return top(data_dir) / "cache"


def boxes(volume: Path) -> list[Path]:
    """The data directories of the boxes that have a name."""
    with suppress(OSError):
        return sorted(each for each in (volume / BOXES).iterdir() if each.is_dir())
    return []


def adopt(data_dir: Path) -> None:
    """Take over what lies at the top, from when the volume had one box only, unless an agent runs there.

    May be killed at any moment: the next start goes on with it.
    """
    shared = top(data_dir)
    if shared == data_dir or (data_dir / KEPT_AT_THE_TOP[-1]).exists():
        return
    left = [name for name in KEPT_AT_THE_TOP if (shared / name).exists()]
    if not left or is_held(shared):
        return
    data_dir.mkdir(parents=True, exist_ok=True)
    for name in left:
        if not (data_dir / name).exists():
            (shared / name).rename(data_dir / name)


def is_held(data_dir: Path) -> bool:
    """Whether an agent on this machine holds the directory."""
    try:
        with (data_dir / LOCK).open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def beat(data_dir: Path, *, short_lived: bool) -> None:
    """Say that this box runs, by the volume's own clock."""
    with suppress(OSError):
        (data_dir / ALIVE).write_text(SHORT_LIVED if short_lived else "")


def is_alive(data_dir: Path) -> bool:
    """Whether a box runs there, on whatever machine; one that was killed counts for ten minutes more."""
    silent = silent_seconds(data_dir / ALIVE)
    return is_held(data_dir) or (silent is not None and silent < SILENT_SECONDS)


def sweep(data_dir: Path) -> list[Path]:
    """Delete what workers that come and go have left on this volume a day ago; what was deleted."""
    swept = []
    for box in boxes(top(data_dir)):
        silent = silent_seconds(box / ALIVE)
        if box == data_dir or silent is None or silent < SWEPT_SECONDS or is_held(box):
            continue
        with suppress(OSError):
            if (box / ALIVE).read_text() == SHORT_LIVED:
                shutil.rmtree(box)
                swept.append(box)
    return swept


def silent_seconds(file: Path) -> float | None:
    """Since this file was written, by the clock that stamps the volume's files; None when it is not there."""
    try:
        return _now(file.parent) - file.stat().st_mtime
    except OSError:
        return None


def _now(folder: Path) -> float:
    probe = folder / f".now-{os.getpid()}"
    try:
        probe.write_text("")
        return probe.stat().st_mtime
    except OSError:
        return time.time()
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)
