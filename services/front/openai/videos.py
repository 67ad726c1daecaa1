"""OpenAI's videos contract on ``/v1/videos``, and our additions under the same resource."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi import Path as InPath
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse

from services.front import described, refusals
from services.front.answers import conditional, content, watch
from services.front.answers.file_answer import FileAnswer
from services.front.context import Context, Shared
from services.front.creation import once, retry
from services.front.door import ownership
from services.front.health.access import Access
from services.front.openai import creation, description, events, view
from services.front.openai.schemas import Video, VideoDeleted, VideoList
from services.queue.job import Job, NotFound

router = APIRouter(prefix="/v1/videos", tags=["videos"])

VideoId = Annotated[str, InPath(max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]
POLL_AFTER = "openai-poll-after-ms"
POLL_MS = (500, 5000)  # at least, at most
POLL_PARTS = 20  # of what is left


@router.post(
    "",
    summary="Ask for a video",
    responses=description.MADE,
    openapi_extra=description.request_body(),
)
async def create_video(request: Request, response: Response, context: Shared) -> Video:
    made = await creation.from_request(request, context)
    once.mark(response, replayed=made.is_replay)
    return await answer(made.jobs[0], response, context)


@router.get(
    "",
    summary="List videos, newest first",
    response_model=VideoList,
    responses=description.UNCHANGED | described.errors(404),
)
@router.head("", include_in_schema=False)
async def list_videos(
    request: Request,
    context: Shared,
    after: Annotated[
        str | None,
        Query(max_length=64, pattern=r"^[A-Za-z0-9_-]+$", description="The last id of the page before"),
    ] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    order: Literal["asc", "desc"] = "desc",
) -> Response:
    try:
        jobs, has_more = await context.ask(
            lambda queue: queue.page(after=after, limit=limit, order=order, key_id=ownership.only())
        )
    except NotFound:
        raise refusals.no_video_after(after) from None
    data = await view.videos(context, jobs)
    first, last = (data[0].id, data[-1].id) if data else (None, None)
    page = VideoList(data=data, first_id=first, last_id=last, has_more=has_more)
    return conditional.json(request, page.model_dump_json(), tag=f"{view.tag(*data)}-{has_more:d}")


@router.post(
    "/sync",
    summary="Ask for a video and wait for its MP4",
    response_class=FileAnswer,
    responses=description.WAITED,
    openapi_extra=description.request_body(),
)
async def create_and_wait(request: Request, context: Shared) -> FileAnswer:
    made = await creation.from_request(request, context)
    # A proxy cuts an answer that takes longer, and the clip would be paid for and lost from sight.
    seconds = Access.read(context.boot.document()).answer_seconds(request)
    job = await _finished(request, context, made.jobs[0].id, seconds)
    if job.status == "failed":
        raise refusals.failed(job)
    answer = content.video(context, job)
    once.mark(answer, replayed=made.is_replay)
    return answer


@router.get(
    "/{video_id}",
    summary="One video",
    response_model=Video,
    responses=description.VIDEO | description.UNCHANGED | described.errors(404),
)
@router.head("/{video_id}", include_in_schema=False)
async def retrieve_video(video_id: VideoId, request: Request, context: Shared) -> Response:
    job = await _job(context, video_id)
    if context.outbox is not None:
        job = await context.outbox.signed(job)
    video = await view.video(context, job)
    body, tag = video.model_dump_json(), view.tag(video)
    return conditional.json(request, body, tag=tag, headers=_poll(job, video))


@router.delete(
    "/{video_id}",
    summary="Forget a video and its files; one that runs is stopped",
    responses=described.errors(404),
)
async def delete_video(video_id: VideoId, context: Shared) -> VideoDeleted:
    try:
        await context.ask(lambda queue: queue.delete(video_id))
    except NotFound:
        raise refusals.no_video(video_id) from None
    await run_in_threadpool(context.files.remove, video_id)
    context.notifier.notify(video_id)
    return VideoDeleted(id=video_id)


@router.get(
    "/{video_id}/content",
    summary="The MP4, or a picture of it",
    response_class=FileAnswer,
    responses=description.FILE,
)
@router.head("/{video_id}/content", include_in_schema=False)
async def read_content(
    video_id: VideoId,
    context: Shared,
    variant: Literal["video", "thumbnail", "spritesheet", "input"] = "video",
) -> FileAnswer:
    job = await _job(context, video_id)
    if variant == "input":
        return content.photo(context, job)
    if job.status != "completed":
        raise refusals.no_content(job)
    if variant == "video":
        return content.video(context, job)
    return await content.still(context, job, variant)


@router.post(
    "/{video_id}/cancel",
    summary="Stop it; it ends as failed with code cancelled",
    responses=description.VIDEO | described.errors(404),
)
async def cancel_video(video_id: VideoId, response: Response, context: Shared) -> Video:
    try:
        job = await context.ask(lambda queue: queue.cancel(video_id))
    except NotFound:
        raise refusals.no_video(video_id) from None
    context.notifier.notify(video_id)
    return await answer(job, response, context)


@router.post(
    "/{video_id}/retry",
    summary="A failed one again: the same video, with new attempts",
    responses=description.VIDEO | described.errors(404, 409, 429),
)
async def retry_video(video_id: VideoId, response: Response, context: Shared) -> Video:
    job = await retry.begin(await _job(context, video_id), context)
    return await answer(job, response, context)


@router.post(
    "/{video_id}/remix",
    summary="The same again with another prompt, or other parameters",
    responses=description.MADE,
    openapi_extra=description.request_body(),
)
async def remix_video(video_id: VideoId, request: Request, response: Response, context: Shared) -> Video:
    source = await _job(context, video_id)
    made = await creation.remix(request, source, context)
    once.mark(response, replayed=made.is_replay)
    return await answer(made.jobs[0], response, context)


@router.get(
    "/{video_id}/events",
    summary="Progress as server-sent events",
    response_class=StreamingResponse,
    responses=description.EVENTS,
)
async def watch_video(video_id: VideoId, request: Request, context: Shared) -> Response:
    return await events.answer(request, context, await _job(context, video_id))


async def _job(context: Context, video_id: str) -> Job:
    job = await context.ask(lambda queue: queue.get(video_id))
    if job is None:
        raise refusals.no_video(video_id)
    return job


async def answer(job: Job, response: Response, context: Context) -> Video:
    video = await view.video(context, job)
    response.headers.update(_poll(job, video))
    return video


def _poll(job: Job, video: Video) -> dict[str, str]:
    return {} if job.finished else {POLL_AFTER: str(_poll_ms(video.eta_seconds))}


def _poll_ms(eta_seconds: float | None) -> int:
    low, high = POLL_MS
    return 1000 if eta_seconds is None else int(min(max(eta_seconds * 1000 / POLL_PARTS, low), high))


async def _finished(request: Request, context: Context, job_id: str, seconds: float) -> Job:
    clock = asyncio.get_running_loop().time
    until = clock() + seconds
    async with context.watch.of(job_id) as watcher:
        while clock() < until and not context.notifier.stopping and not await request.is_disconnected():
            seen = await watcher.next(min(until - clock(), watch.LOOK_SECONDS))
            if seen is None:
                continue
            if seen.job is None:
                raise refusals.no_video(job_id)
            if seen.job.finished:
                return seen.job
    raise refusals.still_running(job_id)
