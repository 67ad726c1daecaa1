"""``/v1/queue``: the queue as its operator sees it, whoever the jobs belong to."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, Field

from services.front import described, refusals
from services.front.context import Context, Shared
from services.queue.job import Job, NotFound, Status
from services.queue.selection import Selection

router = APIRouter(prefix="/v1/queue", tags=["queue"])

Seconds = Annotated[float, Field(ge=0)]


class QueueJob(BaseModel):
    id: str
    status: Status
    user: str
    priority: int
    model: str
    prompt: str | None
    attempt: int
    worker: str | None
    progress: float = Field(description="0 to 1")
    stage: str | None
    created_at: int
    started_at: int | None
    completed_at: int | None
    error_code: str | None
    error_message: str | None


class QueueJobs(BaseModel):
    object: Literal["list"] = "list"
    data: list[QueueJob]
    has_more: bool


class Purge(BaseModel):
    """Which jobs are forgotten, with their files. One that runs never is: cancel it first."""

    model_config = ConfigDict(extra="forbid")

    status: Annotated[tuple[Literal["queued", "completed", "failed"], ...], Field(min_length=1)]
    user: str | None = None
    model: str | None = None
    older_than_seconds: Seconds | None = Field(
        default=None, description="Since it ended; one that waits: since it was made."
    )
    confirm: bool = Field(default=False, description="false: only say how many they are.")


class Purged(BaseModel):
    matched: int
    purged: int


@router.get("/jobs", summary="Everybody's jobs, newest first", responses=described.errors(404))
async def list_jobs(
    context: Shared,
    status: Annotated[list[Status] | None, Query(description="Repeat it for several")] = None,
    user: str | None = None,
    model: str | None = None,
    older_than_seconds: Annotated[float | None, Query(ge=0)] = None,
    after: Annotated[str | None, Query(description="The last id of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> QueueJobs:
    which = Selection(owner=user, model=model, older_than_seconds=older_than_seconds)
    if status:
        which = Selection(tuple(status), user, model, older_than_seconds)
    try:
        found, has_more = await context.ask(
            lambda queue: queue.operations.find(which, limit=limit, after=after)
        )
    except NotFound:
        raise refusals.no_video_after(after) from None
    return QueueJobs(data=[_shown(job) for job in found], has_more=has_more)


@router.post("/purge", summary="Forget jobs that wait or have ended, and their files")
async def purge(asked: Purge, context: Shared) -> Purged:
    """Without ``confirm`` nothing is deleted. A clip that is still to be copied out of the box stays."""
    which = Selection(
        asked.status,
        asked.user,
        asked.model,
        asked.older_than_seconds,
        only_copied=context.outbox is not None,
    )
    if not asked.confirm:
        return Purged(matched=await context.ask(lambda queue: queue.operations.count(which)), purged=0)
    gone = await context.ask(lambda queue: queue.operations.purge(which))
    await run_in_threadpool(_remove_files, context, gone)
    context.notifier.notify()
    return Purged(matched=len(gone), purged=len(gone))


def _remove_files(context: Context, ids: list[str]) -> None:
    for job_id in ids:  # what is left when this ends early, the upkeep finds
        context.files.remove(job_id)


def _shown(job: Job) -> QueueJob:
    return QueueJob(
        id=job.id,
        status=job.status,
        user=job.owner,
        priority=job.priority,
        model=job.model,
        prompt=job.prompt,
        attempt=job.attempts,
        worker=job.worker,
        progress=job.progress,
        stage=job.stage,
        created_at=int(job.created_at),
        started_at=None if job.started_at is None else int(job.started_at),
        completed_at=None if job.completed_at is None else int(job.completed_at),
        error_code=job.error_code,
        error_message=job.error_message,
    )
