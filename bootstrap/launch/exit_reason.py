"""Why a process ended, for people: exit code or signal, the kernel's OOM killer, its last words."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

LAST_LINES = 4
LAST_BYTES = 4000


def reason(returncode: int, *, oom_kills: int = 0) -> str:
    """What a return code of ``subprocess`` means; ``oom_kills`` happened in this cgroup meanwhile.

    >>> reason(-11)
    'killed by signal 11 (SIGSEGV)'
    >>> reason(3)
    'ended with exit code 3'
    """
    if returncode >= 0:
        return f"ended with exit code {returncode}"
    try:
        name = f" ({signal.Signals(-returncode).name})"
    except ValueError:
        name = ""
    text = f"killed by signal {-returncode}{name}"
    if returncode == -signal.SIGKILL and oom_kills:
        text += ": the machine ran out of host memory, and the kernel's OOM killer chose it"
    return text


def last_lines(log: Path) -> str:
    """The end of a log in one line; empty when there is none."""
    try:
        with log.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - LAST_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    return " | ".join([line.strip() for line in lines if line.strip()][-LAST_LINES:])


def oom_kills(*, proc: Path = Path("/proc"), sys: Path = Path("/sys")) -> int:
    """How often the OOM killer has struck in this process's cgroup; 0 when it is not known."""
    return max(_counts(proc, sys), default=0)


def _counts(proc: Path, sys: Path) -> Iterator[int]:
    from bootstrap.detect import cgroup  # reads hardware: not before the front has started

    for folder in cgroup.memory_folders(proc=proc, sys=sys):
        for name in ("memory.events", "memory.oom_control"):
            try:
                lines = (folder / name).read_text().splitlines()
            except OSError:
                continue
            for line in lines:
                key, _, value = line.partition(" ")
                if key == "oom_kill" and value.isdigit():
                    yield int(value)
