"""A log into which a process writes by itself: it is put aside as ``.1`` when it grows too long."""

from __future__ import annotations

import asyncio
import os
import shutil
from contextlib import suppress
from pathlib import Path

MOST_BYTES = 20 * 1024**2
LOOK_SECONDS = 10.0


async def watch(log: Path, *, most_bytes: int = MOST_BYTES, look_seconds: float = LOOK_SECONDS) -> None:
    """Until it is cancelled."""
    while True:
        await asyncio.sleep(look_seconds)
        if is_too_long(log, most_bytes):
            await asyncio.to_thread(put_aside, log)


def is_too_long(log: Path, most_bytes: int = MOST_BYTES) -> bool:
    try:
        return log.stat().st_size > most_bytes
    except OSError:
        return False


def put_aside(log: Path) -> None:
    """Copied and emptied, not renamed: who writes appends to the file that it has open.

    What is written during the copy may be lost. A disk that is full keeps no copy: the log is emptied all the
    same.
    """
    aside = log.with_name(log.name + ".1")
    try:
        shutil.copyfile(log, aside)
    except OSError:
        with suppress(OSError):
            aside.unlink(missing_ok=True)
    with suppress(OSError):
        os.truncate(log, 0)
