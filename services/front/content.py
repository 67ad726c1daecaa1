"""The files of a job as answers: its clip and its photo."""

from __future__ import annotations

from pathlib import Path

from services.front import refusals, stills
from services.front.context import Context
from services.front.file_answer import FileAnswer
from services.front.stills import Variant
from services.queue.job import Job


def clip(context: Context, job: Job) -> Path:
    """The MP4 of a completed job. Raises ``ApiError`` when it was removed."""
    path = context.files.folder(job.id) / str(job.content_name)
    if not path.is_file():
        raise refusals.content_missing(job)
    return path


def video(context: Context, job: Job) -> FileAnswer:
    return FileAnswer(
        clip(context, job),
        media_type="video/mp4",
        filename=f"{job.id}.mp4",
        content_disposition_type="inline",
        headers={"x-video-id": job.id},
    )


def photo(context: Context, job: Job) -> FileAnswer:
    """The photo that the clip is made from, at any time: to show it, or to use it again."""
    path = context.files.folder(job.id) / (job.input_name or "")
    if not path.is_file():
        raise refusals.no_photo(job)
    return FileAnswer(path)


async def still(context: Context, job: Job, variant: Variant) -> FileAnswer:
    """A picture of the clip, made when it is first asked for. Raises ``ApiError``."""
    try:
        return FileAnswer(await context.stills.picture(variant, clip(context, job)))
    except stills.Damaged as error:
        raise refusals.content_damaged(job, str(error)) from error
    except FileNotFoundError:
        raise refusals.content_missing(job) from None
