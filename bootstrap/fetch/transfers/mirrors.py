"""Which mirror a connection uses, a file's address there, and which mirrors are no longer used."""

from __future__ import annotations

import threading
import time

from bootstrap.errors import KitError
from bootstrap.fetch import errors
from bootstrap.fetch.located import Located, Mirror
from bootstrap.fetch.transfers.transfer import FileTransfer


class Mirrors:
    """What all connections have learnt of the hub and its mirrors.

    ``lock`` is the session's. ``strikes`` nonsense answers in a row end the use of a mirror.
    """

    def __init__(self, lock: threading.Condition, *, strikes: int) -> None:
        self._lock = lock
        self._strikes = strikes
        self._rates: dict[str, float] = {}
        self._dropped: set[str] = set()
        self._nonsense: dict[str, int] = {}
        self._located: dict[tuple[str, str], Located] = {}
        self._asking: dict[tuple[str, str], threading.Lock] = {}

    def choose(self, last_name: str, number: int, transfer: FileTransfer) -> Mirror:
        """The mirror a connection used last, while it is not far behind the fastest; the hub after damage.

        ``number`` spreads connections that have used none over the good ones.
        """
        with self._lock:
            alive = [
                mirror for mirror in transfer.mirrors if mirror.name not in self._dropped
            ] or transfer.mirrors
            if transfer.restarts or transfer.strikes:
                return alive[0]
            best = max((self._rates.get(mirror.name, 0.0) for mirror in alive), default=0.0)
            good = [s for s in alive if self._rates.get(s.name, best) >= best / 2]
            for mirror in good:
                if mirror.name == last_name:
                    return mirror
            return good[number % len(good)]

    def measured(self, mirror: Mirror, rate: float) -> None:
        """Take a connection's rate over one range into this mirror's mean; mirrors are compared by it."""
        with self._lock:
            before = self._rates.get(mirror.name)
            self._rates[mirror.name] = rate if before is None else 0.7 * before + 0.3 * rate

    def remember(self, transfer: FileTransfer, mirror: Mirror, located: Located) -> None:
        """An address that was asked for before the fetch began."""
        self._located[(transfer.file.path, mirror.name)] = located

    def locate(self, transfer: FileTransfer, mirror: Mirror) -> Located:
        """The file's address at this mirror, requested once for all connections and again when it expires."""
        key = (transfer.file.path, mirror.name)
        with self._lock:
            asking = self._asking.setdefault(key, threading.Lock())
        with asking:
            known = self._located.get(key)
            if known is None or (known.good_until is not None and time.monotonic() > known.good_until):
                known = mirror.locate(transfer.file)
                _agree(known, transfer, mirror)
                self._located[key] = known
            return known

    def forget(self, transfer: FileTransfer, mirror: Mirror, located: Located) -> None:
        """This address has expired; the next connection requests a new one."""
        key = (transfer.file.path, mirror.name)
        with self._lock:
            if self._located.get(key) is located:
                del self._located[key]

    def replace(self, transfer: FileTransfer, mirror: Mirror, before: Located, now: Located) -> None:
        """The address that was given out points on: all connections ask at its end from now on."""
        key = (transfer.file.path, mirror.name)
        with self._lock:
            if self._located.get(key) is before:
                self._located[key] = now

    def forget_moved(self, transfer: FileTransfer, mirror: Mirror) -> None:
        """Where storage pointed to, nobody answers: the next connection begins at the front again."""
        key = (transfer.file.path, mirror.name)
        with self._lock:
            known = self._located.get(key)
            if known is not None and known.was_moved:
                del self._located[key]

    def count_nonsense(self, mirror: Mirror, transfer: FileTransfer, why: str) -> None:
        """An answer made no sense. After too many in a row, of all connections, the mirror is dropped.

        Raises KitError when no other is left.
        """
        with self._lock:
            count = self._nonsense[mirror.name] = self._nonsense.get(mirror.name, 0) + 1
        if count >= self._strikes and not self.drop(mirror.name, transfer):
            raise KitError(
                f"{mirror.name} cannot be used for {transfer.file.path}: {why}",
                fix="name another mirror, or bypass the proxy between this box and the hub",
            )

    def clear_nonsense(self) -> None:
        """Bytes came that could be used."""
        self._nonsense.clear()

    def drop(self, name: str, transfer: FileTransfer) -> bool:
        """Stop using a mirror that fails while another is left; False when it is the last."""
        with self._lock:
            others = [s for s in transfer.mirrors if s.name != name and s.name not in self._dropped]
            if others:
                self._dropped.add(name)
            return bool(others)


def _agree(found: Located, transfer: FileTransfer, mirror: Mirror) -> None:
    """A mirror that announces other content is not asked for bytes."""
    digest = found.git_oid if transfer.by_git else found.sha256
    if digest and transfer.expected and digest != transfer.expected:
        raise errors.MirrorError(
            f"{mirror.name} has another {transfer.file.path}: its digest is {digest},"
            f" expected {transfer.expected}",
            fix="leave this mirror out",
        )
    if found.bytes not in (None, transfer.file.bytes):
        raise errors.MirrorError(
            f"{mirror.name} has {found.bytes} bytes of {transfer.file.path}, not {transfer.file.bytes}",
            fix="correct the manifest, or leave this mirror out",
        )
