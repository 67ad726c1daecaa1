"""A name for each request: in the answer's ``X-Request-Id``, in every error's body, and in the log.

A client's own is kept when it is short and plain, so that its log and ours can be laid side by side.
"""

from __future__ import annotations

import re
import secrets
from contextvars import ContextVar

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADER = "x-request-id"
PLAIN = re.compile(r"[A-Za-z0-9._:-]{1,128}")

_current: ContextVar[str | None] = ContextVar("request_id", default=None)


def current() -> str | None:
    """Of the request that is being answered; None outside of one."""
    return _current.get()


class NameRequests:
    """ASGI middleware around everything else; routes read ``request.state.request_id``."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            return await self._app(scope, receive, send)
        name = _own(scope) or f"req_{secrets.token_hex(12)}"
        # Not taken back at the end: the answer to a bug is written outside of all middleware, in this task.
        _current.set(name)
        scope.setdefault("state", {})["request_id"] = name

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).setdefault(HEADER, name)
            await send(message)

        return await self._app(scope, receive, named)


def _own(scope: Scope) -> str | None:
    given = Headers(scope=scope).get(HEADER, "")
    return given if PLAIN.fullmatch(given) else None
