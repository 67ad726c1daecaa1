"""How many jobs stand how, in bounded time: a status that waits for its database would hide all else."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from bootstrap.errors import KitError

if TYPE_CHECKING:
    from services.queue.queue import Queue


Ask = Callable[[Callable[["Queue"], Any]], Awaitable[Any]]  # ``Context.ask``
WAIT_SECONDS = 3.0  # less than the patience of whoever asks for a status


class Counts:
    def __init__(self, ask: Ask, *, max_queued: int) -> None:
        self._ask = ask
        self._max_queued = max_queued
        self._late: asyncio.Task[dict[str, Any]] | None = None

    async def read(self, model: str | None) -> dict[str, Any] | None:
        """Counts by status, the bound, and the typical seconds of a clip of ``model``.

        None while the database takes longer, as it does when the queue is opened on a busy disk; it is asked
        again once it has answered. ``failure`` alone when it cannot be used at all.

        Raises:
            DatabaseDown: it does not answer.
        """
        if self._late is not None and not await _ends(self._late):
            return None
        own = self._late = asyncio.create_task(self._count(model))  # others may ask meanwhile
        own.add_done_callback(_retrieved)
        return own.result() if await _ends(own) else None

    async def _count(self, model: str | None) -> dict[str, Any]:
        try:
            counts: dict[str, Any] = await self._ask(lambda queue: queue.counts())
            typical = await self._ask(lambda queue: queue.typical_seconds(model)) if model else None
        except KitError as error:
            return {"failure": {"problem": error.problem, "fix": error.fix}}
        return {**counts, "max_queued": self._max_queued, "typical_seconds": typical}


async def _ends(task: asyncio.Task[Any]) -> bool:
    """Within the time that a status may take."""
    done, _ = await asyncio.wait({task}, timeout=WAIT_SECONDS)
    return bool(done)


def _retrieved(task: asyncio.Task[Any]) -> None:
    """Nobody may be left to read the error of an answer that came late; that is no news."""
    if not task.cancelled():
        task.exception()
