"""Whose videos a caller sees: a named key its own, unless its scopes say all."""

from __future__ import annotations

import re

from fastapi import Request

from services.front import refusals
from services.front.context import Context, Shared
from services.front.door import caller
from services.queue.job import Job

ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


def only() -> str | None:
    """The key whose jobs alone the caller sees; None: all."""
    by = caller.current()
    return None if by.sees_all else by.key_id


def sees(job: Job) -> bool:
    return only() in (None, job.key_id)


async def check(request: Request, context: Shared) -> None:
    """For every route with a ``video_id``: another's video is one that is not there."""
    video_id = request.path_params.get("video_id", "")
    by = caller.current()
    if by.key_id is None or not ID.fullmatch(video_id):
        return
    job = await _found(context, video_id)
    ends_it = request.method == "DELETE" or request.url.path.endswith(("/cancel", "/retry", "/webhook"))
    if job is None or not sees(job) or (ends_it and not by.may("admin") and job.key_id != by.key_id):
        raise refusals.no_video(video_id)


async def _found(context: Context, video_id: str) -> Job | None:
    return await context.ask(lambda queue: queue.get(video_id))
