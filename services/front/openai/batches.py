"""``POST /v1/videos/batch``: many requests at once, all or none of which become videos."""

from __future__ import annotations

import secrets
from dataclasses import replace
from functools import partial
from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from services import parameters
from services.front import described, refusals
from services.front.context import Context, Shared
from services.front.creation import create, once
from services.front.creation.create import Draft
from services.front.door import ownership
from services.front.errors import ApiError
from services.front.openai import body, description, json_body
from services.front.openai.videos import VideoId
from services.parameters import RequestError
from services.queue.job import Job, Status

router = APIRouter(prefix="/v1/videos/batch", tags=["batches"])

MOST = 1000
TEXT_BYTES = 4 * 1024**2
LINES = ("application/jsonl", "application/x-ndjson", "application/x-jsonlines")
CREATE = "/v1/videos"


class BatchVideo(BaseModel):
    id: str
    status: Status
    error_code: str | None


class Batch(BaseModel):
    """``status``: ``in_progress`` until each of its videos has ended."""

    id: str
    object: Literal["video.batch"] = "video.batch"
    status: Literal["in_progress", "completed"]
    created_at: int
    counts: dict[Status, int]
    videos: list[BatchVideo]  # in the order in which they were asked for; deleted ones are left out later


@router.post(
    "",
    summary="Ask for many videos: all are taken, or none",
    responses=description.BATCHED,
    openapi_extra=description.batch_body(),
)
async def create_batch(request: Request, response: Response, context: Shared) -> Batch:
    await context.fleet.refresh()
    create.plan_of(context)  # refused before the body, which may be large, is read
    async with context.uploads.room() as room:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in ("application/json", "", *LINES):
            raise refusals.unread_type(kind)
        max_image_bytes = context.settings.max_image_bytes
        raw = await room.read(request, max_image_bytes * 4 // 3 + TEXT_BYTES)
        given = await room.uploads.parse(partial(_parse, raw, is_lines=kind in LINES), len(raw))
        made = await create.once(
            context, once.of(request, {}, bytes(raw)), partial(_drafts, given, context, max_image_bytes)
        )
    once.mark(response, replayed=made.is_replay)
    return _batch(str(made.jobs[0].parent), made.jobs)


@router.get("/{batch_id}", summary="How far its videos are", responses=described.errors(404))
async def retrieve_batch(batch_id: VideoId, context: Shared) -> Batch:
    jobs = await context.ask(lambda queue: queue.parts(batch_id))
    if not jobs or not all(map(ownership.sees, jobs)):
        raise refusals.no_batch(batch_id)
    return _batch(batch_id, jobs)


def _parse(raw: bytearray, *, is_lines: bool) -> list[Any]:
    """The requests' bodies; raises ``ApiError`` or ``RequestError``."""
    if is_lines:
        lines = [line for line in bytes(raw).splitlines() if line.strip()]
        found: Any = [json_body.parse(line, max_text_bytes=TEXT_BYTES) for line in lines[: MOST + 1]]
    else:
        given = json_body.parse(raw, max_text_bytes=TEXT_BYTES)
        found = given.get("requests")
        if unknown := next((name for name in given if name != "requests"), None):
            raise RequestError(
                f"there is no field {unknown[:60]!r}", fix='send {"requests": [{…}, …]}', param=unknown[:60]
            )
    if not isinstance(found, list) or not 1 <= len(found) <= MOST:
        raise RequestError(
            f"a batch has 1 to {MOST} requests", fix='send {"requests": [{…}, …]}', param="requests"
        )
    return [_unwrapped(each) for each in found]


def _unwrapped(request: Any) -> Any:
    """OpenAI's batch files have the body of each request within a line that says where it goes."""
    if isinstance(request, dict) and "body" in request and request.get("url") == CREATE:
        return request["body"]
    return request


async def _drafts(given: list[Any], context: Context, max_image_bytes: int) -> list[Draft]:
    batch_id = f"batch_{secrets.token_hex(12)}"
    drafts: list[Draft] = []
    wrong: list[dict[str, Any]] = []
    for index, each in enumerate(given):
        try:
            draft = await _draft(each, context, max_image_bytes)
            drafts.append(replace(draft, new=replace(draft.new, parent=batch_id)))
        except (RequestError, ApiError) as error:
            about = {"message": error.problem, "param": error.param, "code": error.code, "fix": error.fix}
            wrong.append({"index": index, **about})
    if wrong:
        raise refusals.wrong_batch(wrong, len(given))
    return drafts


async def _draft(given: Any, context: Context, max_image_bytes: int) -> Draft:
    if not isinstance(given, dict):
        raise RequestError("a request is no JSON object", fix="send {...}", param=None)
    sorted_body = body.sort(given, max_image_bytes)
    asked = parameters.parse(sorted_body.fields, also_known=body.OWN_FIELDS)
    plan = create.plan_of(context, sorted_body.model)
    picture = await create.picture(context, sorted_body.image)
    return create.draft(
        context,
        plan,
        asked,
        picture=picture,
        owner=sorted_body.user,
        priority=sorted_body.priority,
        destination=sorted_body.destination,
    )


def _batch(batch_id: str, jobs: list[Job]) -> Batch:
    states: tuple[Status, ...] = ("queued", "in_progress", "completed", "failed")
    counts = {status: sum(job.status == status for job in jobs) for status in states}
    return Batch(
        id=batch_id,
        status="completed" if all(job.finished for job in jobs) else "in_progress",
        created_at=int(min(job.created_at for job in jobs)),
        counts=counts,
        videos=[BatchVideo(id=job.id, status=job.status, error_code=job.error_code) for job in jobs],
    )
