"""The video that an edit or an extension starts from: one that was made here, by its id, or a file."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.types import Message

from services.front import refusals
from services.front.answers import content
from services.front.context import Context
from services.front.door import ownership
from services.front.openai import json_body
from services.front.settings import MIB
from services.parameters import RequestError
from services.queue.job import Job
from services.video import frame

FIELD = "video"
MAX_VIDEO_BYTES = 200 * MIB
TEXT_BYTES = MIB
MAX_FIELDS = 100
PART_BYTES = MIB

# A decoding process takes up to 4 GiB.
_decoding = CapacityLimiter(1)


@dataclass(frozen=True)
class Given:
    """``fields``: the rest of the body. One of ``video_id`` and ``file`` is there."""

    fields: dict[str, Any]
    video_id: str | None = None
    file: Path | None = None
    digest: str = ""  # of the file's content


@asynccontextmanager
async def read(request: Request) -> AsyncIterator[Given]:
    """The body, with the video on the disk for as long as the block lasts.

    Raises ``ApiError`` or ``RequestError``.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in ("application/json", ""):
        body = b"".join([chunk async for chunk in _limited(request, TEXT_BYTES).stream()])
        yield _by_id(json_body.parse(body, max_text_bytes=TEXT_BYTES))
    elif kind == "multipart/form-data":
        with tempfile.NamedTemporaryFile(prefix="kinokit-video-") as kept:
            yield await _form(_limited(request, MAX_VIDEO_BYTES + TEXT_BYTES), Path(kept.name))
    else:
        raise refusals.unread_type(kind)


async def picture(context: Context, given: Given, which: str) -> tuple[Job | None, bytes]:
    """The video's job, if it was made here, and a frame of it: ``first``, ``last``, or at so many seconds.

    Raises ``ApiError`` or ``RequestError``.
    """
    job = None
    file = given.file
    if given.video_id is not None:
        job = await made_here(context, given.video_id)
        file = content.clip(context, job)
    assert file is not None
    try:
        return job, await run_sync(frame.read, file, which, limiter=_decoding)
    except frame.Unread as error:
        raise RequestError(error.problem, fix=error.fix, param=FIELD, code="video_unreadable") from None


async def made_here(context: Context, video_id: str) -> Job:
    job = await context.ask(lambda queue: queue.get(video_id))
    if job is None or not ownership.sees(job):
        raise refusals.no_video(video_id)
    if job.status != "completed":
        raise refusals.no_content(job)
    return job


def _limited(request: Request, max_bytes: int) -> Request:
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > max_bytes:
        raise refusals.video_too_large(max_bytes / MIB)
    taken = 0

    async def receive() -> Message:
        nonlocal taken
        message = await request.receive()
        taken += len(message.get("body", b""))
        if taken > max_bytes:
            raise refusals.video_too_large(max_bytes / MIB)
        return message

    return Request(request.scope, receive)


async def _form(request: Request, file: Path) -> Given:
    given: dict[str, Any] = {}
    digest = ""
    try:
        async with request.form(max_files=1, max_fields=MAX_FIELDS, max_part_size=TEXT_BYTES) as parts:
            for name, value in parts.multi_items():
                if name in given:
                    raise RequestError(f"{name} is given twice", fix="give it once", param=name)
                if isinstance(value, UploadFile) and name == FIELD:
                    digest = await asyncio.to_thread(_keep, value, file)
                    given[name] = file
                elif isinstance(value, UploadFile):
                    raise RequestError(f"{name} is a file", fix="only the video is one", param=name)
                else:
                    given[name] = value
    except HTTPException as error:
        raise RequestError(
            f"the form cannot be read: {error.detail}",
            fix="let a library write it",
            param=None,
            code="invalid_form",
        ) from None
    if digest:
        return Given(
            {name: value for name, value in given.items() if name != FIELD}, file=file, digest=digest
        )
    if f"{FIELD}[id]" in given:  # how clients write an object in a form
        given[FIELD] = {"id": given.pop(f"{FIELD}[id]")}
    elif str(given.get(FIELD, "")).startswith("{"):
        given[FIELD] = json_body.parse(str(given[FIELD]).encode(), max_text_bytes=TEXT_BYTES)
    return _by_id(given)


def _keep(upload: UploadFile, file: Path) -> str:
    """Copy it; the SHA-256 of its content."""
    digest, size = hashlib.sha256(), 0
    with file.open("wb") as target:
        while part := upload.file.read(PART_BYTES):
            digest.update(part)
            size += len(part)
            target.write(part)
    if not size:
        raise RequestError(
            "the video is empty: 0 bytes", fix="send the file itself", param=FIELD, code="video_unreadable"
        )
    return digest.hexdigest()


def _by_id(given: dict[str, Any]) -> Given:
    reference = given.get(FIELD)
    video_id = reference.get("id") if isinstance(reference, dict) else reference
    if not isinstance(video_id, str) or not video_id or len(video_id) > 64:
        raise RequestError(
            "no video is given",
            fix='send a file as video in a form, or {"video": {"id": "video_…"}} of a completed video',
            param=FIELD,
            code="video_required",
        )
    return Given({name: value for name, value in given.items() if name != FIELD}, video_id=video_id)
