"""The files of a job as answers: its clip and its photo."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from starlette.types import Receive, Scope, Send

from services.front import refusals
from services.front.answers import stills
from services.front.answers.file_answer import FileAnswer
from services.front.answers.stills import Variant
from services.front.context import Context
from services.queue.job import Job


class HeldAnswer(FileAnswer):
    """While it is sent, its file is not deleted to make room."""

    def __init__(self, path: Path, hold: AbstractContextManager[None], **more: Any) -> None:
        super().__init__(path, **more)
        self._hold = hold

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._hold:
            await super().__call__(scope, receive, send)


def clip(context: Context, job: Job) -> Path:
    """The MP4 of a completed job. Raises ``ApiError`` when it was removed."""
    if job.expired_at is not None:
        raise refusals.expired(job)
    path = context.files.folder(job.id) / str(job.content_name)
    if not path.is_file():
        raise refusals.content_missing(job)
    return path


def video(context: Context, job: Job) -> FileAnswer:
    return HeldAnswer(
        clip(context, job),
        context.readers.reading(job.id),
        media_type="video/mp4",
        filename=f"{job.id}.mp4",
        content_disposition_type="inline",
        headers={"x-video-id": job.id},
    )


def photo(context: Context, job: Job) -> FileAnswer:
    """The photo that the clip is made from, at any time: to show it, or to use it again."""
    path = context.files.folder(job.id) / (job.input_name or "")
    if job.expired_at is not None and job.input_name is not None:
        raise refusals.expired(job)
    if not path.is_file():
        raise refusals.no_photo(job)
    return HeldAnswer(path, context.readers.reading(job.id))


async def still(context: Context, job: Job, variant: Variant) -> FileAnswer:
    """A picture of the clip, made when it is first asked for. Raises ``ApiError``."""
    try:
        return FileAnswer(await context.stills.picture(variant, clip(context, job)))
    except stills.Damaged as error:
        raise refusals.content_damaged(job, str(error)) from error
    except FileNotFoundError:
        raise refusals.content_missing(job) from None
