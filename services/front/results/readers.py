"""Whose files are being read, or were a moment ago: nothing is deleted under a reader."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

GRACE_SECONDS = 300.0  # a player asks for one part after the other
MOST_KEPT = 10_000


class Readers:
    def __init__(
        self, *, grace_seconds: float = GRACE_SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._grace_seconds = grace_seconds
        self._clock = clock
        self._reading: Counter[str] = Counter()
        self._read_at: dict[str, float] = {}

    @contextmanager
    def reading(self, job_id: str) -> Iterator[None]:
        self._reading[job_id] += 1
        try:
            yield
        finally:
            self._reading[job_id] -= 1
            self._read_at[job_id] = self._clock()
            self._forget()

    def held(self) -> set[str]:
        """The ids of jobs whose files have to stay for now."""
        self._forget()
        return {job_id for job_id, count in self._reading.items() if count} | set(self._read_at)

    def _forget(self) -> None:
        before = self._clock() - self._grace_seconds
        self._read_at = {job_id: at for job_id, at in self._read_at.items() if at > before}
        if len(self._reading) > MOST_KEPT:
            self._reading = Counter({job_id: count for job_id, count in self._reading.items() if count})
