"""What all threads of one session share: the lock, what has come, what went wrong, and whether to end."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from bootstrap.fetch.transfers.transfer import FileTransfer


class Control:
    """One lock for all transfers and everything here; threads wait on it for changes."""

    def __init__(self, transfers: Sequence[FileTransfer]) -> None:
        self.transfers = transfers
        self.lock = threading.Condition()
        self.received = 0  # bytes, of all connections
        self.write_seconds = 0.0  # of all connections
        self.problem: str | None = None  # the last one, for the user
        self.paused_until = 0.0  # a server asked for it
        self.failure: BaseException | None = None
        self.stopping = False

    def fail(self, error: BaseException) -> None:
        """End the session; the first error counts."""
        with self.lock:
            self.failure = self.failure or error
            self.lock.notify_all()

    def warn(self, problem: str) -> None:
        """Remember what the user should know."""
        self.problem = problem

    def pause(self, seconds: float) -> None:
        """Sleep, but no longer than the session lasts."""
        until = time.monotonic() + seconds
        with self.lock:
            while not self.stopping and (left := until - time.monotonic()) > 0:
                self.lock.wait(left)
