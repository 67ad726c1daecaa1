"""The disk never fills up with clips: those that are too old, or in the way of new ones, lose their files.

What ended first goes first, with its photo and its pictures; its row stays and says so. Never touched: a clip
that is nowhere else while clips are copied out of the box, one that is being read, one that has just ended.
"""

from __future__ import annotations

import asyncio
import logging
import math
import shutil
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from fastapi.concurrency import run_in_threadpool

from bootstrap.errors import KitError
from services.front.results.readers import Readers
from services.front.settings import Settings
from services.queue import notifier
from services.queue.files import Files
from services.queue.job import DatabaseDown
from services.queue.notifier import Notifier

if TYPE_CHECKING:
    from services.queue.queue import Queue

Ask = Callable[[Callable[["Queue"], Any]], Awaitable[Any]]  # ``Context.ask``

log = logging.getLogger("kinokit.front")

GIB = 1024**3
REST_SECONDS = 30.0  # after a look: many clips may end within it
MAKE_ROOM_GIB = 2.0  # where clips are copied out of the box, and nothing else is said


class Retention:
    def __init__(
        self, settings: Settings, files: Files, notifier: Notifier, ask: Ask, readers: Readers
    ) -> None:
        self._settings = settings
        self._files = files
        self._notifier = notifier
        self._ask = ask
        self._readers = readers
        is_copied = settings.results_url is not None
        self._make_room_gib = settings.make_room_gib
        if self._make_room_gib is None and is_copied:
            self._make_room_gib = MAKE_ROOM_GIB
        self._only_copied = is_copied
        self._deleted, self._freed_bytes, self._missing_bytes = 0, 0, 0

    @property
    def is_on(self) -> bool:
        limits = (self._settings.keep_seconds, self._settings.keep_gib, self._make_room_gib)
        return any(limit is not None for limit in limits)

    def public(self) -> dict[str, Any]:
        """Its limits, what it deleted since the start, and what it could not free."""
        return {
            "keep_gib": self._settings.keep_gib,
            "make_room_gib": self._make_room_gib,
            "deleted": self._deleted,
            "freed_gib": round(self._freed_bytes / GIB, 3),
            "missing_gib": round(self._missing_bytes / GIB, 3),
        }

    async def run(self) -> None:
        """For ever: it looks when something has ended, and from time to time."""
        reported = ""
        while True:
            change = self._notifier.subscribe()
            try:
                await self._look()
                reported = ""
            except DatabaseDown:
                pass  # the queue has logged it
            except (KitError, OSError) as error:
                if str(error) != reported:
                    log.error("retention: %s", error)
                reported = str(error)
            except Exception:
                log.exception("retention failed")
            await asyncio.sleep(min(REST_SECONDS, self._settings.purge_seconds))
            await notifier.wait(change, self._settings.purge_seconds)

    async def _look(self) -> None:
        keep = self._settings.keep_seconds
        if keep is not None:
            await self._delete(time.time() - keep, "too old")
        missing = await run_in_threadpool(self._missing)
        if missing > 0:
            missing -= await self._delete(time.time() - self._settings.keep_grace_seconds, "room", missing)
            if missing > 0 >= self._missing_bytes:
                log.warning("%.2f GiB more should be free, and no clip may go", missing / GIB)
        self._missing_bytes = max(missing, 0)

    def _missing(self) -> int:
        """How many bytes have to go."""
        keep, free, missing = self._settings.keep_gib, self._make_room_gib, 0
        if keep is not None:
            missing = self._files.bytes() - int(keep * GIB)
        if free is not None and self._files.root.is_dir():
            missing = max(missing, int(free * GIB) - shutil.disk_usage(self._files.root).free)
        return missing

    async def _delete(self, before: float, why: str, enough: float = math.inf) -> int:
        """Delete files of jobs that ended before this time, the oldest first; the bytes that are free now."""
        freed, count = 0, 0
        while freed < enough:
            held = self._readers.held()
            ended = partial(_ended, before=before, only_copied=self._only_copied, but_not=held)
            old: list[str] = await self._ask(ended)
            for job_id in old:
                if freed >= enough or job_id in self._readers.held():
                    continue
                freed_now = await self._expire(job_id)
                freed, count = freed + freed_now, count + (freed_now > 0)
            if not old:
                break
        if count:
            log.info("%d clips were deleted (%s): %.3f GiB", count, why, freed / GIB)
            self._notifier.notify()
        return freed

    async def _expire(self, job_id: str) -> int:
        """The files first: whatever ends this, no file is left that nobody knows."""
        freed = await run_in_threadpool(self._files.bytes, job_id)
        await run_in_threadpool(self._files.remove, job_id)
        await self._ask(lambda queue: queue.expiry.expire(job_id))
        self._deleted += freed > 0
        self._freed_bytes += freed
        return freed


def _ended(queue: Queue, before: float, only_copied: bool, but_not: set[str]) -> list[str]:
    return queue.expiry.ended(before=before, only_copied=only_copied, but_not=but_not)
