"""Requests that are sent again: by a client's key, or by a client that says it tries once more.

A key is its caller's and is kept for a day. Without one, OpenAI's clients count their tries in
``x-stainless-retry-count``: a later try within a minute means the job of the first, whose answer was lost.
Refused requests are not kept: they made nothing, and may be sent again.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Request, Response

from services.front import refusals
from services.queue.job import Once

KEY_SECONDS = 24 * 3600.0
RETRY_SECONDS = 60.0
MAX_KEY_LENGTH = 255
RETRY_COUNT = "x-stainless-retry-count"
REPLAYED = "Idempotent-Replayed"


def of(request: Request, asked: Mapping[str, Any], *files: bytes | None) -> Once:
    """``asked`` and ``files``: the request as it was given. Raises ``ApiError``."""
    key = request.headers.get("idempotency-key")
    if key is not None and len(key) > MAX_KEY_LENGTH:
        raise refusals.key_too_long(MAX_KEY_LENGTH)
    caller, told = caller_of(request), _fingerprint(request, asked, files)
    if key:
        return Once(caller, f"key:{key}", told, KEY_SECONDS)
    is_first = request.headers.get(RETRY_COUNT, "0") in ("", "0")
    return Once(caller, f"body:{told}", told, RETRY_SECONDS, is_new=is_first)


def caller_of(request: Request) -> str:
    """Who has the key: not the ``user`` of a body, which anybody may write."""
    caller = getattr(request.state, "caller", None)
    return str(getattr(caller, "key_id", None) or getattr(caller, "name", None) or "")


def mark(response: Response, *, replayed: bool) -> None:
    if replayed:
        response.headers[REPLAYED] = "true"


def _fingerprint(request: Request, asked: Mapping[str, Any], files: tuple[bytes | None, ...]) -> str:
    """Of what was asked, not of what became of it: the seed may have been drawn."""
    digest = hashlib.sha256(json.dumps([request.url.path, asked], sort_keys=True, default=str).encode())
    for file in files:
        digest.update(hashlib.sha256(file or b"").digest())
    return digest.hexdigest()


class UnderWay:
    """The requests that are becoming jobs at this moment, in this front."""

    def __init__(self) -> None:
        self._ends: dict[tuple[str, str], asyncio.Event] = {}

    @asynccontextmanager
    async def taking(self, once: Once) -> AsyncIterator[None]:
        """Two of the same never become jobs side by side.

        Raises ``ApiError`` 409 when the same key is under way; a client's own next try waits for the last.
        """
        place, end = (once.caller, once.key), asyncio.Event()
        before = self._ends.get(place)
        if before is not None and not once.is_new:
            if once.key.startswith("key:"):
                raise refusals.key_in_progress()
            await before.wait()
        self._ends[place] = end
        try:
            yield
        finally:
            end.set()
            if self._ends.get(place) is end:
                del self._ends[place]
