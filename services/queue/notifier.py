"""Wakes whoever waits for a change: claims, progress streams. Within one event loop."""

from __future__ import annotations

import asyncio
from contextlib import suppress


class Bell:
    def __init__(self) -> None:
        self._next = asyncio.Event()
        self.stopping = False

    def ring(self) -> None:
        rung, self._next = self._next, asyncio.Event()
        rung.set()

    def stop(self) -> None:
        """Everybody who waits comes back, and finds ``stopping``."""
        self.stopping = True
        self.ring()

    def ear(self) -> asyncio.Event:
        """Take it before you look at the queue, then wait on it: no ring is missed between."""
        return self._next


async def wait(ear: asyncio.Event, seconds: float) -> None:
    """Until the bell rings, at most this long."""
    with suppress(TimeoutError):
        await asyncio.wait_for(ear.wait(), seconds)
