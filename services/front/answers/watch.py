"""Jobs that somebody watches: one look for all of them, and only what changed is passed on.

A look follows each bell, of the jobs that rang, and comes once a second for all, since another front may
hold the worker. While nobody watches there are no looks.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bootstrap.errors import KitError
from services.front.answers import estimates
from services.front.answers.estimates import Estimates
from services.queue import notifier as bells
from services.queue.job import DatabaseDown, Job
from services.queue.line import Place
from services.queue.notifier import Notifier

if TYPE_CHECKING:
    from services.queue.queue import Queue

log = logging.getLogger("kinokit.front")

Ask = Callable[[Callable[["Queue"], Any]], Awaitable[Any]]  # ``Context.ask``

LOOK_SECONDS = 1.0
PAUSE_SECONDS = 0.05  # bells that ring within it are one look
MOVED_SECONDS, MOVED_SHARE = 2.0, 0.1  # an end that moved by less is no news: watchers count down themselves
AT_ONCE = 20  # watchers that are woken before others get the event loop


@dataclass(frozen=True, eq=False)
class Seen:
    """A job as it was seen; None: it is deleted."""

    job: Job | None
    place: Place | None


class Watched:
    """One job, for all who watch it."""

    def __init__(self) -> None:
        self.watchers = 0
        self.seen: Seen | None = None  # None before the first look
        self.changed = asyncio.Event()

    def publish(self, seen: Seen) -> None:
        self.seen = seen
        self.wake()

    def wake(self) -> None:
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()


class Watcher:
    def __init__(self, watched: Watched) -> None:
        self._watched = watched
        self._last: Seen | None = None

    async def next(self, seconds: float) -> Seen | None:
        """What is new since the last call; None when nothing is within this time, or the front stops."""
        if self._watched.seen is self._last:
            await bells.wait(self._watched.changed, seconds)
        if self._watched.seen is self._last:
            return None
        self._last = self._watched.seen
        return self._last


class Watch:
    def __init__(self, ask: Ask, notifier: Notifier, estimates: Estimates) -> None:
        self._ask = ask
        self._notifier = notifier
        self._estimates = estimates
        self._watched: dict[str, Watched] = {}
        self._rung: set[str] = set()  # whose row is to be read
        self._bell = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        notifier.listen(self._note)

    @asynccontextmanager
    async def of(self, job_id: str) -> AsyncIterator[Watcher]:
        watched = self._watched.setdefault(job_id, Watched())
        watched.watchers += 1
        self._note(job_id, False)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._look_on())
        try:
            yield Watcher(watched)
        finally:
            watched.watchers -= 1
            if not watched.watchers:
                del self._watched[job_id]
                self._bell.set()  # it may have been the last

    def _note(self, job_id: str | None, line_moved: bool) -> None:
        if job_id is None:
            self._rung.update(self._watched)
        elif job_id in self._watched:
            self._rung.add(job_id)
        if self._watched and (line_moved or self._rung):
            self._bell.set()

    async def _look_on(self) -> None:
        """As long as somebody watches."""
        looked_at = time.monotonic()
        while self._watched and not self._notifier.stopping:
            self._bell.clear()
            rung, self._rung = self._rung, set()
            if time.monotonic() - looked_at >= LOOK_SECONDS:
                rung, looked_at = set(self._watched), time.monotonic()
            try:
                await self._look(rung)
            except (DatabaseDown, KitError):  # the queue has logged it; the next look tries again
                self._rung |= rung
            except Exception:
                log.exception("a look at the watched jobs failed")
            await asyncio.sleep(PAUSE_SECONDS)
            await bells.wait(self._bell, max(0.0, looked_at + LOOK_SECONDS - time.monotonic()))
        for watched in self._watched.values():  # the front stops
            watched.wake()

    async def _look(self, rung: Iterable[str]) -> None:
        ids = [each for each in rung if each in self._watched]
        found: dict[str, Job] = await self._ask(lambda queue: queue.many(ids)) if ids else {}
        rows = {each: found.get(each) for each in ids}
        places = await self._estimates.places()
        woken = 0
        for job_id, watched in list(self._watched.items()):
            if job_id not in rows and watched.seen is None:
                continue  # came after the read
            job = rows.get(job_id, watched.seen.job if watched.seen else None)
            seen = Seen(job, places.get(job_id))
            if job is not None and _is_behind(job, seen.place):
                self._rung.add(job_id)
            elif _is_news(watched.seen, seen):
                watched.publish(seen)
                woken += 1
                if woken % AT_ONCE == 0:
                    await asyncio.sleep(0)


def _is_behind(job: Job, place: Place | None) -> bool:
    """Its row was read before it began or ended, its place after that."""
    return job.status == "queued" and (place is None or place.position is None)


def _is_news(old: Seen | None, new: Seen) -> bool:
    if old is None or old.job is None or new.job is None:
        return old is None or old.job is not new.job
    if old.job != new.job and _shown(old.job) != _shown(new.job):
        return True
    if new.job.status == "queued" and _position(old.place) != _position(new.place):
        return True
    return _has_moved(estimates.ends_at(old.job, old.place), estimates.ends_at(new.job, new.place))


def _shown(job: Job) -> Job:
    """Without what each beat changes."""
    return replace(job, lease_until=None, eta_seconds=None, ends_at=None)


def _position(place: Place | None) -> int | None:
    return None if place is None else place.position


def _has_moved(old: float | None, new: float | None) -> bool:
    if old is None or new is None:
        return old is not new
    return abs(new - old) > max(MOVED_SECONDS, MOVED_SHARE * (new - time.time()))
