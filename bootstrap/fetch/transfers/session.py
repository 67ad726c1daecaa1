"""Receiving, writing and hashing a list of files: starts the threads, looks after them, ends them."""

from __future__ import annotations

import time
from collections.abc import Callable

from bootstrap.fetch.transfers.concurrency import Concurrency, most_connections
from bootstrap.fetch.transfers.control import Control
from bootstrap.fetch.transfers.hashing import Hashing
from bootstrap.fetch.transfers.landing import Landing
from bootstrap.fetch.transfers.mirrors import Mirrors
from bootstrap.fetch.transfers.patience import Patience
from bootstrap.fetch.transfers.scheduler import SMALLEST_SHARE_BYTES, Scheduler
from bootstrap.fetch.transfers.stream import Stream
from bootstrap.fetch.transfers.transfer import FileTransfer
from bootstrap.fetch.transfers.watch import Watch

TICK_SECONDS = 0.05
END_SECONDS = 5.0  # for a thread to end


class Session:
    """Fetches and hashes all transfers; those without mirrors are there already and only hashed.

    ``finish`` is called, in a hashing thread, for each that is verified.
    """

    def __init__(
        self,
        transfers: list[FileTransfer],
        *,
        finish: Callable[[FileTransfer], None],
        connections: int | None = None,
        patience: Patience | None = None,
    ) -> None:
        patience = patience or Patience()
        self._transfers = transfers
        self.control = Control(transfers)
        self.mirrors = Mirrors(self.control.lock, strikes=patience.strikes)
        self._hashing = Hashing(self.control, finish=finish)
        self._landing = Landing(self.control, self._hashing, self.mirrors)
        self._streams: list[Stream] = []
        self._concurrency = Concurrency(most_connections(), fixed=connections)
        self._scheduler = Scheduler(self.control, self._streams, self._concurrency)
        self._watch = Watch(self.control, self._streams, patience)

    def run(self, report: Callable[[], None]) -> None:
        """Go on until all is verified; raises the first failure. ``report`` is called at each tick."""
        control = self.control
        try:
            self._start()
            while True:
                with control.lock:
                    if control.failure is not None:
                        raise control.failure
                    if all(transfer.finished for transfer in self._transfers):
                        return
                    self._tick(time.monotonic())
                    control.lock.wait(TICK_SECONDS)
                report()
        finally:
            self._stop()

    def note(self) -> str | None:
        """What the user should know while it runs."""
        return self._watch.note()

    def _start(self) -> None:
        self._hashing.start()
        with self.control.lock:
            for transfer in self._transfers:
                if transfer.claims.written:
                    transfer.open()
                self._hashing.look(transfer)
            self._add_streams()

    def _tick(self, now: float) -> None:
        if not any(transfer.mirrors and any(transfer.left) for transfer in self._transfers):
            self._watch.rest(now)
            return
        steady = sum(stream.is_steady(now) for stream in self._streams)
        self._concurrency.observe(now, self.control.received, steady)
        self._add_streams()
        self._watch.look(now)

    def _add_streams(self) -> None:
        missing = sum(sum(each.left) for each in self._transfers if each.mirrors and not each.finished)
        wanted = min(self._concurrency.target, -(-missing // SMALLEST_SHARE_BYTES))
        self._streams[:] = [stream for stream in self._streams if stream.is_alive()]
        for _ in range(wanted - len(self._streams)):
            stream = Stream(len(self._streams), self.control, self._scheduler, self._landing, self.mirrors)
            try:
                stream.start()
            except RuntimeError:  # the box gives no more threads
                self._concurrency.refused_thread(len(self._streams))
                return
            self._streams.append(stream)

    def _stop(self) -> None:
        control = self.control
        with control.lock:
            control.stopping = True
            for stream in self._streams:
                stream.abort()
            control.lock.notify_all()
        self._hashing.stop()
        for stream in self._streams:
            stream.join(END_SECONDS)
        self._hashing.join(END_SECONDS)
        for transfer in self._transfers:
            transfer.close()
