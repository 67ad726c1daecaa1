"""Progress as server-sent events: one ``video`` event a change, ``done`` with the last, then the end.

An event's ``id`` is the tag of what it shows: a client that lost the connection sends the last one, and is
not told the same again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from fastapi import Request, Response
from fastapi.responses import StreamingResponse

from services.front.answers.watch import Seen
from services.front.context import Context
from services.front.openai import view
from services.queue.job import Job

KEEP_ALIVE_SECONDS = 15.0
RETRY_MS = 2000  # after which a client that lost the connection comes again

# Proxies must neither keep it back nor keep it.
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


@dataclass(frozen=True)
class Event:
    id: str
    text: str
    is_last: bool


_told: WeakKeyDictionary[Seen, Event] = WeakKeyDictionary()  # one text for all streams of a video


async def answer(request: Request, context: Context, job: Job) -> Response:
    known = request.headers.get("last-event-id") or None
    if known and job.finished and known == view.tag(await view.video(context, job)):
        return Response(status_code=204)  # it has everything: an EventSource comes no more
    stream = _events(context, job.id, known)
    return StreamingResponse(stream, media_type="text/event-stream", headers=HEADERS)


async def _events(context: Context, job_id: str, known: str | None) -> AsyncIterator[str]:
    yield f"retry: {RETRY_MS}\n\n"
    async with context.watch.of(job_id) as watcher:
        while True:
            seen = await watcher.next(KEEP_ALIVE_SECONDS)
            if context.notifier.stopping:
                return
            if seen is None:
                yield ": still here\n\n"
                continue
            event = _event(context, seen)
            if event.id != known:
                yield event.text
            known = None  # it names what was told before this stream
            if event.is_last:
                return


def _event(context: Context, seen: Seen) -> Event:
    if seen.job is None:
        return Event("", "event: deleted\ndata: {}\n\n", is_last=True)
    event = _told.get(seen)
    if event is None:
        video = view.of(context, seen.job, seen.place)
        kind, tag = "done" if seen.job.finished else "video", view.tag(video)
        text = f"event: {kind}\nid: {tag}\ndata: {video.model_dump_json()}\n\n"
        event = _told[seen] = Event(tag, text, seen.job.finished)
    return event
