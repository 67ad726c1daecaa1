"""One fetcher at a time in a folder, among the processes of a machine and among machines that share a volume.

``flock`` decides on one machine, and tells at once that a holder was killed. Many network volumes do not show
it to other machines. There the lease decides: a file that only one can create, in which its holder counts.
Whoever sees it stand still for ``Pace.silent``, by his own clock, writes his name over it and looks whether
it stays.

So two may hold it for a moment, when one stood still and came back. That one sees another name at its next
beat and before it publishes a file, and waits as everybody else. What both write meanwhile are the same bytes
at the same places, and each publishes only what it has hashed.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bootstrap.fetch.store import boot_id, cannot_write

LOCK_NAME, LEASE_NAME = ".fetcher", ".fetcher.lease"
RECORD_BYTES = 512  # written in one piece over the old one, so that nobody reads half of it
NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL)


@dataclass(frozen=True)
class Pace:
    """All in seconds. ``silent`` is longer than a network volume may keep an old view of a file."""

    beat: float = 5.0
    silent: float = 60.0
    settle: float = 2.0
    look: float = 0.2


class Lost(Exception):
    """Another machine took the lease over: this one stood still for too long."""


@contextmanager
def only_fetcher(
    home: Path, waiting: Callable[[str], None], *, pace: Pace | None = None
) -> Iterator[Callable[[], None]]:
    """Hold the folder alone; until then ``waiting`` is called with who has it.

    What is returned raises ``Lost`` when the folder is not held any more.
    """
    try:
        home.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(home / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise cannot_write(home, error) from error
    try:
        lease = _Lease(home, descriptor, pace or Pace())
        lease.take(waiting)
        try:
            yield lease.check
        finally:
            lease.give_back()
    finally:
        os.close(descriptor)


def is_held(home: Path) -> bool:
    """Whether somebody fetches into this folder, or was killed there by another machine."""
    if (home / LEASE_NAME).exists():
        return not _was_killed_here(home)
    return False


def _was_killed_here(home: Path) -> bool:
    told = _read(home / LEASE_NAME)
    if told is None or told.get("machine") != machine(home):
        return False
    with suppress(OSError), (home / LOCK_NAME).open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def machine(home: Path) -> str:
    """The same for processes that see each other's ``flock`` on this folder."""
    return f"{boot_id()}:{os.uname().nodename if boot_id() == 'unknown' else ''}:{home.stat().st_dev}"


class _Lease:
    def __init__(self, home: Path, descriptor: int, pace: Pace) -> None:
        self._path = home / LEASE_NAME
        self._descriptor = descriptor
        self._pace = pace
        self._machine = machine(home)
        self._owner = secrets.token_hex(8)
        self._count = 0
        self._beaten_at = 0.0
        self._is_lost = False
        self._ending = threading.Event()
        self._beating = threading.Thread(target=self._beat, name="lease", daemon=True)

    # -- taking it -------------------------------------------------------------------------------------

    def take(self, waiting: Callable[[str], None]) -> None:
        try:
            locks_work = self._take_lock(waiting)
            while not (self._create() or self._take_over(waiting, locks_work=locks_work)):
                pass
        except OSError as error:
            raise cannot_write(self._path.parent, error) from error
        self._beaten_at = time.monotonic()
        self._beating.start()

    def _take_lock(self, waiting: Callable[[str], None]) -> bool:
        """Among the processes of this machine; False where there are no locks at all."""
        while True:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waiting(_named(_read(self._path), self._machine))
                time.sleep(self._pace.look)
            except OSError as error:
                if error.errno in NO_LOCKS:
                    return False
                raise
            else:
                return True

    def _create(self) -> bool:
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        except FileExistsError:
            return False
        os.close(descriptor)
        self._write()
        return True

    def _take_over(self, waiting: Callable[[str], None], *, locks_work: bool) -> bool:
        """The lease of one that does not beat; False when it was given back, or another was quicker."""
        seen, since = _read(self._path), time.monotonic()
        while time.monotonic() - since < self._pace.silent:
            if not self._path.exists():
                return False
            if locks_work and seen is not None and seen.get("machine") == self._machine:
                break  # we hold the lock that it held: it is dead
            waiting(_named(seen, self._machine))
            time.sleep(self._pace.look)
            found = _read(self._path)
            if found != seen:
                seen, since = found, time.monotonic()
        is_ours = locks_work and seen is not None and seen.get("machine") == self._machine
        self._write()
        time.sleep(0.0 if is_ours else self._pace.settle)
        return self._is_ours()

    # -- keeping it ------------------------------------------------------------------------------------

    def check(self) -> None:
        if time.monotonic() - self._beaten_at > self._pace.silent / 2 and not self._is_ours():
            self._is_lost = True  # this process stood still, and its beat with it
        if self._is_lost:
            raise Lost

    def give_back(self) -> None:
        self._ending.set()
        self._beating.join()
        with suppress(OSError):
            if self._is_ours():
                self._path.unlink()

    def _beat(self) -> None:
        while not self._ending.wait(self._pace.beat):
            try:
                if not self._is_ours():
                    self._is_lost = True
                    return
                self._write()
            except OSError:  # the volume does not answer: others may see the lease stand still
                self._is_lost = time.monotonic() - self._beaten_at > self._pace.silent
            else:
                self._beaten_at = time.monotonic()

    def _is_ours(self) -> bool:
        return (_read(self._path) or {}).get("owner") == self._owner

    def _write(self) -> None:
        """In place: a new file could be hidden behind the old one that another machine still knows."""
        self._count += 1
        told = {"owner": self._owner, "machine": self._machine, "beat": self._count}
        told |= {"pid": os.getpid(), "node": os.uname().nodename[:64]}
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            os.pwrite(descriptor, json.dumps(told).ljust(RECORD_BYTES).encode(), 0)
        finally:
            os.close(descriptor)  # network file systems show it to others from now on


def _read(path: Path) -> dict[str, Any] | None:
    with suppress(OSError, ValueError):
        told = json.loads(path.read_text())
        return told if isinstance(told, dict) else None
    return None


def _named(told: dict[str, Any] | None, here: str) -> str:
    if told is None:
        return "process unknown"
    elsewhere = "" if told.get("machine") == here else f" on {told.get('node')}"
    return f"process {told.get('pid')}{elsewhere}"
