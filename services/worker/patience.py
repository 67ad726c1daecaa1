"""How long a job may take, and how long it may stand still, by a clock that nobody sets."""

from __future__ import annotations

import time
from collections.abc import Callable

from services.worker.protocol import Claimed, JobError, Progress

STALLED = "stalled"
TIMED_OUT = "timed_out"


class Patience:
    """With one attempt. It begins when this is made."""

    def __init__(self, job: Claimed, clock: Callable[[], float] = time.monotonic) -> None:
        self._job = job
        self._clock = clock
        self._seen: Progress | None = None
        self._began_at = self._moved_at = clock()

    def see(self, progress: Progress) -> None:
        """Another stage or more progress is a move; the same again is none."""
        before, self._seen = self._seen, progress
        if before is None or (before.stage, before.progress) != (progress.stage, progress.progress):
            self._moved_at = self._clock()

    def left_seconds(self) -> float:
        """Until the next limit."""
        return min(limit - self._clock() for limit, _ in self._limits())

    def error(self) -> JobError | None:
        """Why the job has to end; None while it may go on."""
        over = [error for limit, error in self._limits() if limit <= self._clock()]
        return over[0] if over else None

    def _limits(self) -> list[tuple[float, JobError]]:
        job, seen = self._job, self._seen
        where = f"{seen.stage}, {seen.progress:.0%}" if seen else "nothing was reported at all"
        stands = f"nothing moved for {job.stall_seconds:g} s ({where}): the GPU process was ended"
        limits = [(self._moved_at + job.stall_seconds, JobError(code=STALLED, message=stands))]
        if job.timeout_seconds is not None:
            took = f"making the clip took longer than {job.timeout_seconds:g} s ({where})"
            limits.append((self._began_at + job.timeout_seconds, JobError(code=TIMED_OUT, message=took)))
        return limits
