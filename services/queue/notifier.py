"""Wakes everybody who waits for a change: claims, progress streams. Within one event loop."""

from __future__ import annotations

import asyncio
from contextlib import suppress


class Notifier:
    def __init__(self) -> None:
        self._next = asyncio.Event()
        self.stopping = False

    def notify(self) -> None:
        changed, self._next = self._next, asyncio.Event()
        changed.set()

    def stop(self) -> None:
        """Everybody who waits comes back, and finds ``stopping``."""
        self.stopping = True
        self.notify()

    def subscribe(self) -> asyncio.Event:
        """Take it before you look at the queue, then wait on it: no change is missed between."""
        return self._next


async def wait(change: asyncio.Event, seconds: float) -> None:
    """Until the next change, at most this long."""
    with suppress(TimeoutError):
        await asyncio.wait_for(change.wait(), seconds)
