"""Progress as server-sent events: one ``video`` event a change, ``done`` with the last, then the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from fastapi import Request
from fastapi.responses import StreamingResponse

from services.front.openai.schemas import Video
from services.queue import notifier
from services.queue.notifier import Notifier

LOOK_SECONDS = 1.0  # another front may hold the worker, whose reports do not come here
KEEP_ALIVE_SECONDS = 15.0

# Proxies must neither keep it back nor keep it.
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}

Look = Callable[[], Awaitable[Video | None]]


def stream(request: Request, changes: Notifier, look: Look) -> StreamingResponse:
    return StreamingResponse(_events(request, changes, look), media_type="text/event-stream", headers=HEADERS)


async def _events(request: Request, changes: Notifier, look: Look) -> AsyncIterator[str]:
    clock = asyncio.get_running_loop().time
    sent, sent_at = "", clock()
    while not changes.stopping:
        change = changes.subscribe()
        video = await look()
        if video is None:
            yield "event: deleted\ndata: {}\n\n"
            return
        text = video.model_dump_json()
        done = video.status not in ("queued", "in_progress")
        if text != sent:
            yield f"event: {'done' if done else 'video'}\ndata: {text}\n\n"
            sent, sent_at = text, clock()
        elif clock() - sent_at >= KEEP_ALIVE_SECONDS:
            yield ": still here\n\n"
            sent_at = clock()
        if done or await request.is_disconnected():
            return
        await notifier.wait(change, LOOK_SECONDS)
