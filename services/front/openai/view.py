"""A job as its clients see it now: with its place in the queue, its estimate, and a tag of what is seen."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace

from services.front.context import Context
from services.front.openai import schemas
from services.front.openai.schemas import Video
from services.queue.job import Job
from services.queue.line import Place


async def video(context: Context, job: Job) -> Video:
    return (await videos(context, [job]))[0]


async def videos(context: Context, jobs: Iterable[Job]) -> list[Video]:
    found = list(jobs)
    waits = any(not job.finished for job in found)
    places = await context.estimates.places() if waits else {}
    return [of(context, job, places.get(job.id)) for job in found]


def of(context: Context, job: Job, place: Place | None) -> Video:
    """``place``: where it stands in the queue; None where nobody knows."""
    if job.status == "queued":
        plans: Mapping[str, object] = context.fleet.plans()
        if plans and job.model not in plans:
            waits = f"it waits for the model {job.model}; {' and '.join(plans)} runs here now"
            job, place = replace(job, warnings=[*job.warnings, waits]), None
    return schemas.video(job, place, now=time.time(), keep_seconds=context.settings.keep_seconds)


def tag(*shown: Video) -> str:
    """Of what is seen. An estimate that only counts down is the same one."""
    digest = hashlib.sha256()
    for each in shown:
        digest.update(each.model_dump_json(exclude={"eta_seconds"}).encode())
        digest.update(_end(each.eta_seconds).encode())
    return digest.hexdigest()[:32]


def _end(eta_seconds: float | None) -> str:
    """When it ends, the rougher the farther away."""
    if eta_seconds is None:
        return ""
    step = 2.0 ** max(2, math.floor(math.log2(max(eta_seconds, 1.0) / 4)))
    return f"{step}:{round((time.time() + eta_seconds) / step)}"
