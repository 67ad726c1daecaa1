"""Whether a process is still there."""

from __future__ import annotations

from contextlib import suppress

import psutil


def gone(pid: int) -> bool:
    """It has ended, whether or not its parent knows."""
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    return True


def is_alive(process: psutil.Process) -> bool:
    return not gone(process.pid)
