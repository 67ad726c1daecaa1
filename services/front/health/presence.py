"""Whether somebody uses this box: the idle stop must not end it under a person, a program or a stream."""

from __future__ import annotations

import time
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

# A request that nobody waits for says so: a page that was left open, the agent's own questions.
UNATTENDED = "x-kinokit-unattended"
# Open to all, the workers', and what the studio's own frame keeps open as long as its tab lives.
NOBODYS = ("/healthz", "/readyz", "/ping", "/internal/", "/studio", "/favicon.ico")


class Presence:
    """When the box was used last. A request that is still under way uses it now."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._used_until = clock()
        self._under_way = 0

    def begin(self) -> None:
        self._under_way += 1

    def end(self) -> None:
        self._under_way -= 1
        self.use()

    def use(self, *, minutes: float = 0.0) -> None:
        """It is used now, and counts as used for so long."""
        self._used_until = max(self._used_until, self._clock() + minutes * 60)

    def unused_seconds(self) -> float:
        """Negative as long as somebody asked for the box to stay."""
        now = self._clock()
        return min(0.0, now - self._used_until) if self._under_way else now - self._used_until


class CountUse:
    """ASGI middleware behind the door: what comes here was let in."""

    def __init__(self, app: ASGIApp, *, presence: Presence) -> None:
        self._app = app
        self._presence = presence

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or not _is_use(scope):
            return await self._app(scope, receive, send)
        self._presence.begin()
        try:
            await self._app(scope, receive, send)
        finally:
            self._presence.end()


def _is_use(scope: Scope) -> bool:
    return not scope["path"].startswith(NOBODYS) and UNATTENDED not in Headers(scope=scope)
