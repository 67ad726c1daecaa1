"""The workers' verbs. A job's verbs carry the fencing token of the attempt; 409 means: stop, it is lost."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse

from bootstrap import files
from bootstrap.errors import KitError
from services.front.context import Context, Shared
from services.front.door import boxes
from services.front.errors import ApiError
from services.queue import notifier
from services.queue.job import CANCELLED, Abilities, DatabaseDown, Job
from services.worker.protocol import (
    Beat,
    BeatAnswer,
    ChildDied,
    Claim,
    Claimed,
    Finish,
    JobError,
    Release,
    WorkerReport,
)

router = APIRouter(
    prefix="/internal", tags=["workers"], include_in_schema=False, dependencies=[Depends(boxes.holds_job)]
)

LOOK_SECONDS = 1.0  # another front may take a job in, or a disk become free, which notifies nobody here
MAX_WAIT_SECONDS = 30.0
STALL_CLIPS = 5  # a clip in which nothing moves for as long as so many usually take hangs
FLUSH_BYTES = 4 * 1024**2


@router.post("/workers/{worker}/state", status_code=204)
async def state(worker: str, report: WorkerReport, request: Request, context: Shared) -> None:
    boxes.check(request, worker)
    await context.fleet.report(worker, report)


@router.post("/claim", response_model=None)
async def claim(asked: Claim, request: Request, context: Shared) -> Response | Claimed:
    boxes.check(request, asked.worker)
    until = asyncio.get_running_loop().time() + min(asked.wait_seconds, MAX_WAIT_SECONDS)
    while not context.notifier.stopping:
        change = context.notifier.subscribe()
        is_held = await context.readiness.holds_jobs_back()
        job = None if is_held else await _claim_once(asked, context)
        if job is not None:
            context.notifier.notify(job.id)
            return _claimed(job, await _typical_seconds(job.model, context), context)
        left = until - asyncio.get_running_loop().time()
        if left <= 0:
            break
        looks = is_held or context.settings.is_shared
        await notifier.wait(change, min(left, LOOK_SECONDS) if looks else left)
        # A job given to a worker that has gone would wait for its lease to run out.
        if await request.is_disconnected():
            break
    return Response(status_code=204)


async def _claim_once(asked: Claim, context: Context) -> Job | None:
    can = Abilities(**asked.model_dump(exclude={"worker", "wait_seconds"}))
    return await context.ask(lambda queue: queue.claim(asked.worker, can))


async def _typical_seconds(model: str, context: Context) -> float:
    """Of a clip; 0 before the first. A job that is claimed is told to its worker, whatever fails here."""
    try:
        return await context.ask(lambda queue: queue.typical_seconds(model)) or 0.0
    except (DatabaseDown, KitError, OSError):
        return 0.0


def _claimed(job: Job, typical_seconds: float, context: Context) -> Claimed:
    settings = context.settings
    timeouts = [each for each in (job.timeout_seconds, settings.job_timeout_seconds) if each is not None]
    return Claimed(
        id=job.id,
        token=job.token,
        attempt=job.attempts,
        kind=job.kind,
        model=job.model,
        values=job.values,
        has_input=job.input_name is not None,
        stall_seconds=max(settings.stall_seconds, STALL_CLIPS * typical_seconds),
        timeout_seconds=min(timeouts, default=None),
    )


@router.get("/jobs/{job_id}/input")
async def read_input(job_id: str, token: int, context: Shared) -> FileResponse:
    job = await _holder(context, job_id, token)
    if job.input_name is None:
        raise ApiError(404, f"job {job_id} has no input", code="not_found", fix="look at has_input")
    path = context.files.folder(job_id) / job.input_name
    if not await run_in_threadpool(path.is_file):
        raise ApiError(
            410,
            f"the photo of job {job_id} is gone from the data directory",
            code="input_missing",
            fix="ask for the video again, with its photo",
        )
    return FileResponse(path)


@router.post("/jobs/{job_id}/beat")
async def renew(job_id: str, beat: Beat, context: Shared) -> BeatAnswer:
    job = await context.ask(lambda queue: queue.beat(job_id, **beat.model_dump()))
    if job is None:
        raise _lost(job_id)
    context.notifier.note_progress(job_id)
    return BeatAnswer(cancel=job.cancel_requested)


@router.put("/jobs/{job_id}/content", status_code=204)
async def write_content(job_id: str, token: int, request: Request, context: Shared) -> None:
    await _holder(context, job_id, token)
    final = context.files.folder(job_id) / context.files.content_name(token)
    await run_in_threadpool(files.make_folder, final.parent)
    with files.replacing(final) as part:
        await _receive(request, part, context.settings.max_content_bytes)
        await _holder(context, job_id, token)  # it may have been lost while the bytes came
    await run_in_threadpool(files.sync, final.parent)


async def _receive(request: Request, part: Path, max_bytes: int) -> None:
    size = 0
    with part.open("wb", buffering=FLUSH_BYTES) as file:
        async for chunk in request.stream():
            size += len(chunk)
            if size > max_bytes:
                raise ApiError(
                    413,
                    f"the content is larger than {max_bytes} bytes",
                    code="too_large",
                    fix="make it smaller",
                )
            await run_in_threadpool(file.write, chunk)
        await run_in_threadpool(_settle, file)


def _settle(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())


@router.post("/jobs/{job_id}/finish", status_code=204)
async def finish(job_id: str, end: Finish, context: Shared) -> None:
    if not await run_in_threadpool(_finish, job_id, end, context):
        raise _lost(job_id)
    context.notifier.notify(job_id)


def _finish(job_id: str, end: Finish, context: Context) -> bool:
    queue = context.queue
    if end.status == "completed":
        name = context.files.content_name(end.token)
        if not (context.files.folder(job_id) / name).is_file():
            if queue.holder(job_id, end.token) is None:
                return False
            raise ApiError(
                400,
                f"job {job_id} has no content of this attempt",
                code="no_content",
                fix="PUT the content first",
            )
        done = queue.complete(job_id, end.token, content_name=name, metadata=end.metadata)
        if done:
            context.files.drop_others(job_id, name)
    else:
        error = end.error or JobError(code="generation_failed", message="the worker gave no reason")
        if end.status == "cancelled":
            error = JobError(code=CANCELLED, message="the job was cancelled")
        done = queue.fail(job_id, end.token, code=error.code, message=error.message, metadata=end.metadata)
    if done and (job := queue.get(job_id)) is not None:
        context.tally.end(job)
    return done or _finished_before(context, job_id, end)


def _finished_before(context: Context, job_id: str, end: Finish) -> bool:
    """The same attempt finished already: its answer was lost on the way, and it asks again."""
    job = context.queue.get(job_id)
    ended = "completed" if end.status == "completed" else "failed"
    return job is not None and job.token == end.token and job.status == ended


@router.post("/jobs/{job_id}/release", status_code=204)
async def give_back(job_id: str, release: Release, context: Shared) -> None:
    if not await context.ask(lambda queue: queue.release(job_id, release.token)):
        raise _lost(job_id)
    context.notifier.notify(job_id)


@router.post("/jobs/{job_id}/died", status_code=204)
async def bury(job_id: str, died: ChildDied, context: Shared) -> None:
    if not await context.ask(lambda queue: queue.bury(job_id, died.token, reason=died.reason)):
        raise _lost(job_id)
    context.notifier.notify(job_id)


async def _holder(context: Context, job_id: str, token: int) -> Job:
    job = await context.ask(lambda queue: queue.holder(job_id, token))
    if job is None:
        raise _lost(job_id)
    return job


def _lost(job_id: str) -> ApiError:
    return ApiError(
        409,
        f"job {job_id} is no longer this attempt's",
        code="lease_lost",
        fix="stop this job and claim another",
    )
