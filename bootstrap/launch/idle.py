"""The idle stop: a rented box that nobody uses ends its own rent, also when its boot has failed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

WARNING_SECONDS = 300.0  # before the end; at most a quarter of the limit


class Idle:
    """How long nothing has waited or run and nobody has asked. ``limit_seconds`` None: never over."""

    def __init__(self, limit_seconds: float | None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit_seconds
        self._clock = clock
        self._since = clock()
        self._finished: object = None

    def see(self, queue: Mapping[str, Any]) -> None:
        """The queue's counts. Work is a job that waits, runs, or has ended since the last look."""
        finished = (queue.get("completed"), queue.get("failed"))
        if queue.get("queued") or queue.get("in_progress") or finished != self._finished:
            self.stay_awake()
        self._finished = finished

    def see_use(self, unused_seconds: float) -> None:
        """How long ago somebody asked for something; negative: how long the box shall stay from now on."""
        self._since = max(self._since, self._clock() - unused_seconds)

    def stay_awake(self) -> None:
        """A download is work too."""
        self._since = max(self._since, self._clock())

    def left_seconds(self) -> float | None:
        """Until it is over; None without a limit."""
        return None if self._limit is None else self._since + self._limit - self._clock()

    def is_over(self) -> bool:
        left = self.left_seconds()
        return left is not None and left <= 0

    def warns(self) -> bool:
        """The end is near enough to say so."""
        left = self.left_seconds()
        return left is not None and self._limit is not None and left <= min(WARNING_SECONDS, self._limit / 4)
