"""Each request once it has been answered: counted, by the route's template and never by its address."""

from __future__ import annotations

import time
from contextvars import ContextVar
from dataclasses import dataclass, field

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.front.metrics.tally import Tally

OTHER = "other"  # no route of ours: whatever strangers ask for
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


@dataclass
class Notes:
    """What is known of an answer besides its status."""

    scope: Scope
    began: float = field(default_factory=time.monotonic)
    code: str | None = None  # of the refusal

    def ms(self) -> float:
        """Since it was asked."""
        return (time.monotonic() - self.began) * 1000

    @property
    def route(self) -> str:
        return route(self.scope)

    @property
    def job_id(self) -> str | None:
        """The job that it was about."""
        named = self.scope.get("path_params") or {}
        return named.get("video_id") or named.get("job_id")


_notes: ContextVar[Notes | None] = ContextVar("notes", default=None)


def current() -> Notes:
    """Of the request that is being answered."""
    return _notes.get() or Notes({"path": "", "type": "http"})


def note_refusal(code: str) -> None:
    """The running request is being refused with this code."""
    notes = _notes.get()
    if notes is not None:
        notes.code = code


class Account:
    """ASGI middleware around everything that answers."""

    def __init__(self, app: ASGIApp, *, tally: Tally) -> None:
        self._app = app
        self._tally = tally

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        notes, status, is_stream = Notes(scope), 500, False
        _notes.set(notes)

        async def watch(message: Message) -> None:
            nonlocal status, is_stream
            if message["type"] == "http.response.start":
                status = message["status"]
                kind = dict(message.get("headers", ())).get(b"content-type", b"")
                is_stream = kind.startswith(b"text/event-stream")
                self._tally.stream(int(is_stream))
            await send(message)

        try:
            await self._app(scope, receive, watch)
        finally:
            self._tally.stream(-int(is_stream))
            method = scope["method"] if scope["method"] in METHODS else OTHER
            self._tally.answered(method, notes.route, status, notes.ms() / 1000, notes.code)


def route(scope: Scope) -> str:
    """The template that answered, such as ``/v1/videos/{video_id}``."""
    if scope["path"].startswith("/studio"):
        return "/studio"
    return str(getattr(scope.get("route"), "path", OTHER))
