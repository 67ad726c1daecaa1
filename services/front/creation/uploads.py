"""Room for large bodies, which lie in memory until their requests are taken in. Small ones need none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from fastapi import Request

from services.front import refusals

Parsed = TypeVar("Parsed")

MOST = 8
LARGE_BYTES = 1024**2
WAIT_SECONDS = 20.0  # for room; a burst of photos is taken in one after the other
PAUSE_SECONDS = 20.0  # within a large body
TOTAL_SECONDS = 300.0  # of a large body
RETRY_SECONDS = 10
PARSED_AT_ONCE = 2
SMALL_BYTES = 64 * 1024  # parsed where it is: a thread would take longer


class Uploads:
    """One for the whole front."""

    def __init__(self, *, most: int = MOST, wait_seconds: float = WAIT_SECONDS) -> None:
        self.most = most
        self._wait_seconds = wait_seconds
        self._places = asyncio.Semaphore(most)
        self._parsing = CapacityLimiter(PARSED_AT_ONCE)

    @asynccontextmanager
    async def room(self) -> AsyncIterator[Room]:
        """Held, once it was needed, until the block ends."""
        room = Room(self)
        try:
            yield room
        finally:
            if room.is_taken:
                self._places.release()

    async def enter(self) -> None:
        """Raises ``ApiError`` 503 when there is no room for a while."""
        try:
            await asyncio.wait_for(self._places.acquire(), self._wait_seconds)
        except TimeoutError:
            raise refusals.too_many_uploads(self.most, retry_seconds=RETRY_SECONDS) from None

    async def parse(self, parser: Callable[[], Parsed], size: int) -> Parsed:
        """Large bodies in a thread, few at a time: other requests are answered meanwhile."""
        if size <= SMALL_BYTES:
            return parser()
        return await run_sync(parser, limiter=self._parsing)


class Room:
    """What one request may take of it."""

    def __init__(self, uploads: Uploads) -> None:
        self.uploads = uploads
        self.is_taken = False

    async def take(self) -> None:
        """Raises ``ApiError`` 503 when there is none for a while."""
        if not self.is_taken:
            await self.uploads.enter()
            self.is_taken = True

    async def read(self, request: Request, max_bytes: int) -> bytearray:
        """The whole body. Raises ``ApiError`` when it is too large, too slow, or there is no room for it."""
        declared = request.headers.get("content-length", "")
        if declared.isdigit() and int(declared) > max_bytes:
            raise refusals.body_too_large(max_bytes / LARGE_BYTES)
        body = bytearray()
        chunks = request.stream()
        ends_at = None
        while (chunk := await _next(chunks, ends_at)) is not None:
            body += chunk
            if len(body) > max_bytes:
                raise refusals.body_too_large(max_bytes / LARGE_BYTES)
            if len(body) > LARGE_BYTES and not self.is_taken:
                await self.take()
                ends_at = asyncio.get_running_loop().time() + TOTAL_SECONDS
        return body


async def _next(chunks: AsyncIterator[bytes], ends_at: float | None) -> bytes | None:
    """``ends_at`` is None while the body is small: then the server's own limits of time hold."""
    try:
        if ends_at is None:
            return await anext(chunks, None)
        left = ends_at - asyncio.get_running_loop().time()
        return await asyncio.wait_for(anext(chunks, None), min(PAUSE_SECONDS, max(left, 0)))
    except TimeoutError:
        raise refusals.body_too_slow(PAUSE_SECONDS) from None
