"""Pages of other sites that may ask (CORS): none, unless their origins are a setting.

They come with the token in ``Authorization`` and never with a cookie. What only the kit's own processes and
its pages use stays closed to them.
"""

from __future__ import annotations

from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

ANY = "*"
METHODS = "GET, HEAD, POST, DELETE"
ALLOWED = "authorization, content-type, idempotency-key, if-none-match, range"  # where a page names none
EXPOSED = (
    "Accept-Ranges, Content-Disposition, Content-Length, Content-Range, ETag, Idempotent-Replayed, "
    "openai-poll-after-ms, Retry-After, X-Request-Id, X-Video-Id"
)
KEPT_SECONDS = 600
CLOSED = ("/internal/", "/sign-in", "/sign-out", "/hub-token", "/studio")


class CrossOrigin:
    """ASGI middleware outside of the door: a browser's question before a request carries no token."""

    def __init__(self, app: ASGIApp, *, origins: Collection[str]) -> None:
        self._app = app
        self._origins = frozenset(each.rstrip("/") for each in origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        origin = Headers(scope=scope).get("origin") if scope["type"] == "http" else None
        if origin is None or not self._may_ask(origin) or scope["path"].startswith(CLOSED):
            return await self._app(scope, receive, send)
        allowed = {"Access-Control-Allow-Origin": ANY if ANY in self._origins else origin}
        if scope["method"] == "OPTIONS" and "access-control-request-method" in Headers(scope=scope):
            return await _preflight(scope, allowed)(scope, receive, send)

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update({**allowed, "Access-Control-Expose-Headers": EXPOSED})
                headers.add_vary_header("Origin")
            await send(message)

        return await self._app(scope, receive, answer)

    def _may_ask(self, origin: str) -> bool:
        return ANY in self._origins or origin in self._origins


def _preflight(scope: Scope, allowed: dict[str, str]) -> Response:
    """Clients add headers of their own, and ``*`` would not stand for Authorization: they are repeated."""
    asked = Headers(scope=scope).get("access-control-request-headers") or ALLOWED
    headers = {
        **allowed,
        "Access-Control-Allow-Methods": METHODS,
        "Access-Control-Allow-Headers": asked,
        "Access-Control-Max-Age": str(KEPT_SECONDS),
        "Vary": "Origin, Access-Control-Request-Headers",
    }
    return Response(status_code=204, headers=headers)
