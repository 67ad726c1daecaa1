"""Which connection fetches which bytes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from typing import Protocol

from bootstrap.fetch.errors import TryAgain
from bootstrap.fetch.transfers.concurrency import Concurrency
from bootstrap.fetch.transfers.control import Control
from bootstrap.fetch.transfers.transfer import FileTransfer, Range

SMALLEST_NEAR_BYTES = 4 * 1024**2
SMALLEST_SHARE_BYTES = 1024**2  # a request more for less than this costs more than it brings
ACTIVE_FILES = 2  # few, so that what is loaded first is there first
CONNECTIONS_A_FILE = 8  # with more of them the link is faster than one hash, and as many files keep up


class Receiver(Protocol):
    """A connection as the scheduler sees it."""

    wanted: Range | None  # what it fetches now
    received_at: float  # when bytes last came, in monotonic seconds
    rate: float  # bytes a second over its last range; 0: not known yet
    answer_seconds: float  # from a request to the head of its answer

    def is_alive(self) -> bool: ...
    def abort(self) -> None: ...


class Scheduler:
    """Hands out ranges to connections and takes back what they did not fetch.

    ``receivers`` are all connections; the session adds and removes them.
    """

    def __init__(self, control: Control, receivers: Sequence[Receiver], concurrency: Concurrency) -> None:
        self._control = control
        self._receivers = receivers
        self._concurrency = concurrency

    @property
    def is_looking(self) -> bool:
        """Whether the right number of connections is still being looked for."""
        return self._concurrency.is_looking

    def take(self, receiver: Receiver) -> Range | None:
        """The next range for this connection; None when it should end. Waits while there is nothing to do."""
        control = self._control
        with control.lock:
            while not control.stopping and control.failure is None and not self._is_surplus(receiver):
                now = time.monotonic()
                pause = control.paused_until - now
                if pause > 0:
                    control.lock.wait(min(pause, 0.5))
                    continue
                wanted = self._next(receiver, now) or self._steal(receiver, now)
                if wanted is not None:
                    wanted.transfer.open()
                    return wanted
                control.lock.wait(0.1)
            return None

    def _is_surplus(self, receiver: Receiver) -> bool:
        """Whether this connection should end because there shall be fewer."""
        alive = [each for each in self._receivers if each.is_alive()]
        target = self._concurrency.target
        return len(alive) > target and alive.index(receiver) >= target

    def _next(self, receiver: Receiver, now: float) -> Range | None:
        open_transfers = [each for each in self._control.transfers if each.todo and each.reader is None]
        active = sorted(
            open_transfers[: max(ACTIVE_FILES, self._concurrency.target // CONNECTIONS_A_FILE)],
            key=lambda transfer: len(transfer.in_flight),
        )
        if not active:
            return None
        # Towards the end the shares become small, so that all connections end at the same time.
        left = sum(wanted.end - wanted.pos for transfer in open_transfers for wanted in transfer.todo)
        last = max(SMALLEST_SHARE_BYTES, left // (2 * max(1, len(self._receivers))))
        # Small shares keep the hash close behind; they are as large as makes the way to the server and back
        # a twentieth of their time.
        near = last
        if receiver.rate:
            near = max(SMALLEST_NEAR_BYTES, int(receiver.rate * receiver.answer_seconds * 20))
        return active[0].take(now, min(last, near))

    def _steal(self, thief: Receiver, now: float) -> Range | None:
        """Nothing is left to hand out: share the range that would end last."""
        in_flight = [(each, each.wanted) for each in self._receivers if each.wanted and each is not thief]
        usual = statistics.median([r.rate(now) for _, r in in_flight if now - r.began > 0.1] or [0.0])
        usual = max(usual, thief.rate, 1.0)
        worth = max(1.0, 8 * thief.answer_seconds)  # seconds; what is on its way already is lost
        slowest: tuple[float, Receiver, Range] | None = None
        for owner, wanted in in_flight:
            transfer = wanted.transfer
            if transfer.reader is not None or wanted not in transfer.in_flight or now - wanted.began < worth:
                continue
            seconds = (wanted.end - wanted.pos) / max(wanted.rate(now), 1.0)
            if wanted.pos < wanted.end and seconds > worth and (slowest is None or seconds > slowest[0]):
                slowest = (seconds, owner, wanted)
        if slowest is None:
            return None
        _, owner, wanted = slowest
        # A connection that has just not got anything yet is no reason to ask a second time.
        if wanted.rate(now) == 0 and now - owner.received_at < worth:
            return None
        taken = wanted.transfer.split(wanted, usual, now)
        if taken is not None and wanted.pos >= wanted.end:
            owner.abort()
        return taken

    def give_back(self, wanted: Range, receiver: Receiver) -> bool:
        """The connection is done with it, or failed; whether nothing of it is left to fetch."""
        transfer = wanted.transfer
        with self._control.lock:
            if transfer.reader is receiver:
                transfer.reader = None
                transfer.read_from_front()
            is_complete = wanted not in transfer.in_flight or wanted.pos >= wanted.end
            transfer.give_back(wanted)
            self._control.lock.notify_all()
            return is_complete

    def read_whole(self, transfer: FileTransfer, receiver: Receiver) -> bool:
        """From now on this connection alone reads the file; False when another does already.

        It lasts until ``give_back``: then what is missing may be asked for in ranges again.
        """
        with self._control.lock:
            if transfer.reader is not None:
                return False
            transfer.reader = receiver
            transfer.read_from_front()
            return True

    def failed(self, why: TryAgain) -> None:
        """A range failed and is back in the queue: ask for less, or wait, if the server wants that."""
        control = self._control
        with control.lock:
            now = time.monotonic()
            control.problem = why.why
            if why.slow_down:
                self._concurrency.slow_down(now, why.wait_seconds or 1.0)
            if why.wait_seconds:
                control.paused_until = max(control.paused_until, now + why.wait_seconds)
            control.lock.notify_all()
