"""Workers and models of all fronts that share this front's queue, not of this front alone."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

from anyio import move_on_after

from bootstrap.choose.plan import Plan
from bootstrap.errors import KitError
from services.front.health.boot_state import BootState
from services.queue.job import DatabaseDown
from services.queue.workers import WorkerRegistry
from services.worker.protocol import WorkerReport

WRITE_SECONDS = 4.0  # a worker that reports more often than this writes only what changes its state
READ_SECONDS = 2.0
WAIT_SECONDS = 1.0  # a database that is slow must not make health checks slow

Ask = Callable[[Callable[[Any], Any]], Awaitable[Any]]  # ``Context.ask``


class Fleet:
    def __init__(self, workers: WorkerRegistry, boot: BootState, ask: Ask, *, is_shared: bool) -> None:
        """``is_shared``: other fronts may use the same queue; else nothing is written or read."""
        self._workers = workers
        self._boot = boot
        self._ask = ask
        self._is_shared = is_shared
        self._written: dict[str, tuple[str, float]] = {}  # worker -> state, when
        self._read_at = float("-inf")

    async def report(self, worker: str, report: WorkerReport) -> None:
        """Keep what a worker reports, where the other fronts find it too."""
        fields = report.model_dump(exclude={"plan"})
        kept = self._workers.report(worker, plan=report.plan, **fields)
        state, written_at = self._written.get(worker, ("", float("-inf")))
        now = time.monotonic()
        if self._is_shared and (state != report.state or now - written_at >= WRITE_SECONDS):
            self._written[worker] = report.state, now
            await self._try(lambda queue: queue.announcements.write(kept))

    async def refresh(self) -> None:
        """Know what workers reported to other fronts; at most every two seconds, and never for long."""
        if not self._is_shared or time.monotonic() - self._read_at < READ_SECONDS:
            return
        self._read_at = time.monotonic()
        found = await self._try(lambda queue: queue.announcements.read())
        if found is not None:
            self._workers.replace_elsewhere(found)

    def plans(self) -> dict[str, Plan]:
        """The models that a job may ask for, by name: this front's own first, then those announced."""
        own = self._boot.plan()
        return ({own.model: own} if own else {}) | self._workers.plans()

    async def _try(self, verb: Callable[[Any], Any]) -> Any:
        """None where the database does not answer now: the next report or request tries again."""
        with move_on_after(WAIT_SECONDS):
            try:
                return await self._ask(verb)
            except (DatabaseDown, KitError):
                pass
        return None
