"""The studio's page finds its server by the browser's own address, whatever proxies stand between, and
begins with a script of ours, before any of Gradio's.

Gradio writes an absolute address into its page, guessed from ``Host`` and ``X-Forwarded-*``. A proxy that
changes the one and omits the others (marketplaces differ) would leave a page that asks an unknown host.
"""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

STAND_IN = "kinokit.invalid"
# Both places are JavaScript, so that the address may be an expression.
HERE = b'(location.origin + location.pathname.replace(/[/]$/, ""))'
LEFT_OUT = ("accept-encoding", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-port", "forwarded")


class BrowserOrigin:
    """ASGI wrapper around the app that serves the page at its root."""

    def __init__(self, app: ASGIApp, script: str = "") -> None:
        self._app = app
        self._script = f"<script>{script}</script>".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        mounted_at = scope.get("root_path", "")
        if scope["type"] != "http" or scope["path"].removeprefix(mounted_at).strip("/"):
            return await self._app(scope, receive, send)
        kept = [(name, value) for name, value in scope["headers"] if name.decode() not in (*LEFT_OUT, "host")]
        asked = {**scope, "scheme": "http", "headers": [*kept, (b"host", STAND_IN.encode())]}
        page = _Page(send, f'"http://{STAND_IN}{mounted_at}"'.encode(), self._script)
        return await self._app(asked, receive, page.send)


class _Page:
    """Holds the page back until it is whole: 70 kB."""

    def __init__(self, send: Send, address: bytes, script: bytes) -> None:
        self._send = send
        self._address = address
        self._script = script
        self._start: Message = {}
        self._body = b""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            return
        self._body += message.get("body", b"")
        if message.get("more_body"):
            return
        body = self._body.replace(self._address, HERE).replace(b"<head>", b"<head>" + self._script, 1)
        headers = MutableHeaders(raw=list(self._start["headers"]))
        headers["content-length"] = str(len(body))
        headers["cache-control"] = "no-store"
        await self._send({**self._start, "headers": headers.raw})
        await self._send({"type": "http.response.body", "body": body})
