"""The idle stop: a rented box that nobody uses ends its own rent, also when its boot has failed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any


class Idle:
    """How long nothing has waited or run. ``limit_seconds`` None: never over."""

    def __init__(self, limit_seconds: float | None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit_seconds
        self._clock = clock
        self._since = clock()
        self._finished: object = None

    def see(self, queue: Mapping[str, Any]) -> None:
        """The queue's counts. Work is a job that waits, runs, or has ended since the last look."""
        finished = (queue.get("completed"), queue.get("failed"))
        if queue.get("queued") or queue.get("in_progress") or finished != self._finished:
            self._since = self._clock()
        self._finished = finished

    def stay_awake(self) -> None:
        """A download is work too."""
        self._since = self._clock()

    def is_over(self) -> bool:
        return self._limit is not None and self._clock() - self._since >= self._limit
