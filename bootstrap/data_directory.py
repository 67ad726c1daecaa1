"""Who runs in a data directory: one agent at a time, by a lock; ``agent.json`` tells of it.

Several boxes may share a volume: each has a data directory of its own on it, see ``bootstrap.volume``.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import secrets
import stat
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
READ_BY_PEOPLE = ("logs", "boots")  # folders that somebody may have given wider rights
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
    """The first token of an owner-only file: the wanted one, else what is there, else a new one.

    Other lines stay: they are of others. One that was wanted before goes, since the setting has changed.
    """
    try:
        known = path.read_text().split()
    except FileNotFoundError:
        known = []
    if wanted is None:
        lines = known or [secrets.token_urlsafe(24)]
    else:
        lines = [wanted, *(each for each in known if each != wanted and not _was_wanted(path, each))]
        files.replace_text(_setting(path), _hash(wanted), mode=0o600)
    if lines != known:
        files.replace_text(path, "".join(f"{each}\n" for each in lines), mode=0o600)
    return lines[0]


def _setting(path: Path) -> Path:
    """Beside the tokens: the hash of the one that is a setting."""
    return path.with_name(f"{path.name}.setting")


def _was_wanted(path: Path, token: str) -> bool:
    try:
        return _setting(path).read_text() == _hash(token)
    except OSError:
        return False


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def make_private(data_dir: Path) -> None:
    """Nobody else of this machine reads prompts, photos, clips and logs, also those of earlier boots.

    What boxes share on a volume, the models and the cache, keeps the rights that the volume gives.
    """
    if volume.top(data_dir) != data_dir:
        _restrict(data_dir)
    shared = {volume.models(data_dir), volume.cache(data_dir), data_dir / volume.BOXES}
    for each in data_dir.iterdir():
        if each not in shared:
            _restrict(each)
            for within in each.iterdir() if each.name in READ_BY_PEOPLE and each.is_dir() else ():
                _restrict(within)


def restrict_new_files(data_dir: Path) -> None:
    """For this process and those that it starts; on a shared volume others read the models it fetches."""
    if volume.top(data_dir) == data_dir:
        os.umask(0o077)


def _restrict(path: Path) -> None:
    with suppress(OSError):  # of another user, or on a file system without rights
        rights = stat.S_IMODE(path.lstat().st_mode)
        if rights & 0o077 and not path.is_symlink():
            path.chmod(rights & 0o700)


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
