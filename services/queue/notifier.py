"""Wakes those who wait for a change: claims, progress streams. Within one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

# Hears of a job, or of any (None); and whether the line may have changed.
Listener = Callable[[str | None, bool], None]


class Notifier:
    def __init__(self) -> None:
        self._next = asyncio.Event()
        self._listeners: list[Listener] = []
        self.stopping = False

    def notify(self, job_id: str | None = None) -> None:
        """A job came, began, ended or went; None: nobody knows which."""
        self._tell(job_id, True)
        changed, self._next = self._next, asyncio.Event()
        changed.set()

    def note_progress(self, job_id: str) -> None:
        """Only who watches this job wants to know: nothing in the queue has moved."""
        self._tell(job_id, False)

    def listen(self, listener: Listener) -> None:
        self._listeners.append(listener)

    def stop(self) -> None:
        """Everybody who waits comes back, and finds ``stopping``."""
        self.stopping = True
        self.notify()

    def subscribe(self) -> asyncio.Event:
        """Take it before you look at the queue, then wait on it: no change is missed between."""
        return self._next

    def _tell(self, job_id: str | None, line_moved: bool) -> None:
        for listener in self._listeners:
            listener(job_id, line_moved)


async def wait(change: asyncio.Event, seconds: float) -> None:
    """Until the next change, at most this long."""
    with suppress(TimeoutError):
        await asyncio.wait_for(change.wait(), seconds)
