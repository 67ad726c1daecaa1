"""Who runs in a data directory: one agent at a time, by a lock; ``agent.json`` tells of it.

Several boxes may share a volume: each has a data directory of its own on it, see ``bootstrap.volume``.
"""

from __future__ import annotations

import errno
import fcntl
import json
import secrets
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from bootstrap import files, volume
from bootstrap.errors import KitError

LOCK, RECORD = volume.LOCK, "agent.json"
PLAN, BOOT = "plan.json", "boot.json"
DRAFT = "draft.json"  # the plan as it was decided, before its files are there
ARRIVALS = "arrivals.json"  # which of its files are there by now
TOKEN, WORKER_TOKEN = "token", "worker-token"
PUBLIC_URL = "public_url"  # learnt by the front from the first visit
TYPED_BY_VISITOR = "hub-token.typed"  # from the boot page, until the agent takes it
OF_ONE_BOOT = (PLAN, DRAFT, ARRIVALS, BOOT, PUBLIC_URL, TYPED_BY_VISITOR)


def occupy(data_dir: Path, *, by: str = "agent") -> IO[str]:
    """Make the directory and take it; the lock lasts as long as the file that is returned stays open.

    ``by``: a command that holds it for a while writes no record, and is named where it is in the way.
    """
    try:
        for folder in (data_dir, data_dir / "logs", volume.models(data_dir), data_dir / "cache"):
            folder.mkdir(parents=True, exist_ok=True)
        lock = (data_dir / LOCK).open("a+")
    except OSError as error:
        raise _unusable(data_dir, error) from error
    try:
        _lock(lock)
    except OSError as error:
        lock.close()
        if error.errno not in (errno.EAGAIN, errno.EACCES):
            raise _unusable(data_dir, error) from error
        raise _occupied(data_dir) from error
    if by != "agent":
        (data_dir / RECORD).unlink(missing_ok=True)
    return lock


def _lock(lock: IO[str]) -> None:
    """Somebody who only looks holds it for a moment: worth a second and a third try."""
    for pause_seconds in (0.05, 0.15):
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        time.sleep(pause_seconds)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def running(data_dir: Path) -> dict[str, Any] | None:
    """The agent's record while it runs, else None."""
    return (record(data_dir) or {}) if volume.is_held(data_dir) else None


def record(data_dir: Path) -> dict[str, Any] | None:
    try:
        found = json.loads((data_dir / RECORD).read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def write_record(data_dir: Path, **values: Any) -> None:
    files.replace_text(data_dir / RECORD, json.dumps(values))


def keep_token(path: Path, wanted: str | None = None) -> str:
    """The token in a file that only its owner reads: the wanted one, else what is there, else a new one."""
    if wanted is None:
        with suppress(FileNotFoundError):
            known = path.read_text().split()
            if known:
                return known[0]
    value = wanted or secrets.token_urlsafe(24)
    files.replace_text(path, value + "\n", mode=0o600)
    return value


def _occupied(data_dir: Path) -> KitError:
    found = record(data_dir)
    if found is None:
        return KitError(
            f"another command of kinokit is using {data_dir}",
            fix="wait until it has ended, or choose another --data-dir",
        )
    return KitError(
        f"kinokit is already running in {data_dir}: {found.get('model')} at {found.get('url')}"
        f" (process {found.get('pid')})",
        fix="use it, end it with `kinokit down`, or choose another --data-dir and --port;"
        " boxes that share a volume have a name each: KINOKIT_BOX",
    )


def _unusable(data_dir: Path, error: OSError) -> KitError:
    reason = error.strerror or str(error)
    return KitError(
        f"the data directory {data_dir} cannot be used: {reason[:1].lower()}{reason[1:]}",
        fix="choose one that this user may write to: --data-dir, KINOKIT_DATA_DIR, make up DATA_DIR=",
    )
