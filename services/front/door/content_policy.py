"""What a browser may do with an answer: one header for each kind, on every answer."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

from starlette.datastructures import MutableHeaders
from starlette.responses import HTMLResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CSP = "content-security-policy"
NOTHING = "default-src 'none'"  # JSON and text are no pages
# A clip or a photo that is opened by itself: shown, and nothing in it runs. Without an origin no clip plays.
FILE = (
    "sandbox allow-same-origin; default-src 'none'; img-src 'self'; media-src 'self'; "
    "style-src 'unsafe-inline'"
)
# Gradio writes scripts and styles into its page and makes functions of text; all of it is ours.
STUDIO = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' blob: data:; media-src 'self' blob:; connect-src 'self' blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'"
)
STUDIO_PATH = "/studio"


class Page(HTMLResponse):
    """One document with its own scripts in it: these alone run."""

    def __init__(self, html: str, status_code: int = 200, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(html, status_code, {**(headers or {}), CSP: _of_page(html)})


@lru_cache(maxsize=32)
def _of_page(html: str) -> str:
    scripts = " ".join(
        f"'sha256-{_digest(each)}'" for each in re.findall(r"<script>(.*?)</script>", html, re.S)
    )
    return (
        f"default-src 'none'; script-src {scripts or repr('none')}; style-src 'unsafe-inline'; "
        "img-src 'self' blob: data:; media-src 'self' blob:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'"
    )


def _usual(path: str, kind: str) -> str:
    if path.startswith(STUDIO_PATH):
        return STUDIO
    return _of_page("") if kind.startswith("text/html") else NOTHING


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


class ContentPolicy:
    """ASGI middleware around everything, errors included. ``frame_ancestors``: who may show it in a frame."""

    def __init__(self, app: ASGIApp, *, frame_ancestors: Sequence[str]) -> None:
        self._app = app
        self._ancestors = " ".join(("'self'", *frame_ancestors)) if frame_ancestors else "'none'"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._complete(MutableHeaders(scope=message), scope["path"])
            await send(message)

        return await self._app(scope, receive, answer)

    def _complete(self, headers: MutableHeaders, path: str) -> None:
        policy = headers.get(CSP) or _usual(path, headers.get("content-type", ""))
        headers[CSP] = f"{policy}; frame-ancestors {self._ancestors}"
        headers["X-Content-Type-Options"] = "nosniff"
        headers.setdefault("Referrer-Policy", "same-origin")  # no-referrer would hide a form's origin as well
        if self._ancestors == "'none'":
            headers["X-Frame-Options"] = "DENY"
