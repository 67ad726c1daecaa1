"""What this box has cost since its start: for clips, and for everything else."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from bootstrap.errors import KitError
from services.queue.job import DatabaseDown

if TYPE_CHECKING:
    from services.queue.queue import Queue

Ask = Callable[[Callable[["Queue"], Any]], Awaitable[Any]]  # ``Context.ask``
FRESH_SECONDS = 10.0  # pages ask each second


class Spending:
    def __init__(self, ask: Ask, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._ask = ask
        self._clock = clock
        self._asked_at = -math.inf
        self._clips_dollars = 0.0

    async def read(self, boot: Mapping[str, Any]) -> dict[str, float] | None:
        """In dollars; None where nobody said what the box costs.

        ``other_dollars`` is the start, waiting, and clips that run or were deleted since.
        """
        hourly, started_at = boot.get("hourly_cost"), boot.get("started_at")
        if hourly is None or started_at is None:
            return None
        await self._ask_for_clips(started_at)
        whole = max(0.0, time.time() - started_at) / 3600 * hourly
        clips = min(self._clips_dollars, whole)  # workers of other boxes may have made some
        return {
            "hourly_cost": hourly,
            "dollars": round(whole, 4),
            "clips_dollars": round(clips, 4),
            "other_dollars": round(whole - clips, 4),
        }

    async def _ask_for_clips(self, since: float) -> None:
        if self._clock() - self._asked_at < FRESH_SECONDS:
            return
        try:
            self._clips_dollars = await self._ask(lambda queue: queue.spent_dollars(since=since))
        except (DatabaseDown, KitError):
            return  # what was known before is still true of that moment
        self._asked_at = self._clock()
