"""Place and end of every job that waits or runs: read once for all who ask, at most a second old."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from services.queue.job import Job
from services.queue.line import Place
from services.queue.notifier import Notifier
from services.queue.workers import WorkerRegistry

if TYPE_CHECKING:
    from services.queue.queue import Queue

Ask = Callable[[Callable[["Queue"], Any]], Awaitable[Any]]  # ``Context.ask``

FRESH_SECONDS = 1.0  # another front may have moved the line, which notifies nobody here


class Estimates:
    def __init__(self, ask: Ask, notifier: Notifier, workers: WorkerRegistry) -> None:
        self._ask = ask
        self._workers = workers
        self._places: Mapping[str, Place] = {}
        self._read_at = float("-inf")
        self._has_moved = True
        self._reading = asyncio.Lock()  # who comes meanwhile waits and takes the same
        notifier.listen(self._note)

    async def places(self) -> Mapping[str, Place]:
        """By job. Raises ``DatabaseDown``."""
        async with self._reading:
            if self._has_moved or time.monotonic() - self._read_at > FRESH_SECONDS:
                self._has_moved = False
                try:
                    self._places = await self._read()
                except BaseException:
                    self._has_moved = True
                    raise
                self._read_at = time.monotonic()
            return self._places

    async def _read(self) -> Mapping[str, Place]:
        ready = [report.plan for report in self._workers.present() if report.state == "ready"]
        by_model = Counter(plan.model for plan in ready if plan is not None)
        any_model = len(ready) - by_model.total()  # theirs is the front's own
        found: Mapping[str, Place] = await self._ask(
            lambda queue: queue.line().places(lambda model: by_model[model] + any_model)
        )
        return found

    def _note(self, _job_id: str | None, line_moved: bool) -> None:
        self._has_moved |= line_moved


def ends_at(job: Job, place: Place | None) -> float | None:
    """When it will be finished, in seconds since the epoch: a running job's worker knows best."""
    if job.finished:
        return None
    if job.status == "in_progress" and job.ends_at is not None:
        return job.ends_at
    return None if place is None else place.ends_at
