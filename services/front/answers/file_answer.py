"""A file as an answer: ranges as Starlette makes them, 304 when the client has it, errors as all others."""

from __future__ import annotations

import asyncio
import os
import re

from starlette.datastructures import Headers
from starlette.responses import FileResponse, Response
from starlette.types import Message, Receive, Scope, Send

from services.front import errors, refusals
from services.front.answers import conditional
from services.front.door import content_policy

PART = r"[ \t]*(\d{1,18}-\d{0,18}|-\d{1,18})[ \t]*"
RANGES = re.compile(rf"bytes=(?P<parts>{PART}(,({PART})?)*)", re.ASCII | re.IGNORECASE)


class FileAnswer(FileResponse):
    """Clients may keep it for a day; ``ETag`` and ``If-None-Match`` save the bytes after that."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises ``ApiError`` when the file is gone. One that was opened is sent to its end."""
        try:
            held = await asyncio.to_thread(os.open, self.path, os.O_RDONLY)
        except FileNotFoundError:
            raise refusals.file_gone() from None
        try:
            self.path = f"/dev/fd/{held}"
            await self._send(scope, receive, send)
        finally:
            os.close(held)

    async def _send(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.headers["cache-control"] = "private, max-age=86400"
        self.headers[content_policy.CSP] = content_policy.FILE
        about = self.stat_result = await asyncio.to_thread(os.stat, self.path)
        self.set_stat_headers(about)
        asked = Headers(scope=scope)
        is_read = scope["method"] in ("GET", "HEAD")
        etag, modified = self.headers["etag"], self.headers["last-modified"]
        if is_read and conditional.is_known(asked, etag=etag, modified=modified):
            kept = ("etag", "last-modified", "cache-control")
            unchanged = Response(status_code=304, headers={name: self.headers[name] for name in kept})
            await unchanged(scope, receive, send)
            return
        await super().__call__(
            _without_strange_range(scope), receive, _RangeErrors(scope, receive, send, about.st_size)
        )


def _without_strange_range(scope: Scope) -> Scope:
    """A range that cannot be read, or whose unit is not known, is ignored (RFC 9110, 14.2)."""
    if _is_readable(Headers(scope=scope).get("range", "")):
        return scope
    return {**scope, "headers": [pair for pair in scope["headers"] if pair[0] != b"range"]}


def _is_readable(asked: str) -> bool:
    found = RANGES.fullmatch(asked)
    if found is None:
        return False
    parts = [part.strip().split("-") for part in found["parts"].split(",") if part.strip()]
    return all(not first or not last or int(first) <= int(last) for first, last in parts)


class _RangeErrors:
    """Sends what Starlette sends, but its errors about the range as an error of this API."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, size: int) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        self._size = size
        self._is_refused = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] in (400, 416):
            self._is_refused = True
            await self._refusal(message["status"])(self._scope, self._receive, self._send)
        elif not self._is_refused:
            await self._send(message)

    def _refusal(self, status: int) -> Response:
        asked = Headers(scope=self._scope).get("range", "")[:200]
        return errors.answer(
            status,
            f"the range {asked!r} is not in a file of {self._size} bytes",
            code="invalid_range",
            fix=f"ask for bytes=0-{self._size - 1} or a part of it, or leave the header Range out",
            headers={"content-range": f"bytes */{self._size}"},
        )
