"""``POST /v1/videos/{id}/link``: the clip for somebody who has no token."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from services.front import described, refusals
from services.front.answers import content
from services.front.answers.file_answer import FileAnswer
from services.front.context import Shared
from services.front.door.links import SHARED
from services.front.openai import description
from services.front.openai.videos import VideoId

LONGEST_SECONDS = 7 * 24 * 3600
PATH = SHARED + "{video_id}"

router = APIRouter(tags=["links"])


class LinkWanted(BaseModel):
    model_config = ConfigDict(extra="forbid")

    seconds: Annotated[int, Field(ge=1, le=LONGEST_SECONDS, description="How long it works.")] = 3600


class Link(BaseModel):
    object: Literal["video.link"] = "video.link"
    url: str
    expires_at: int


@router.post(
    "/v1/videos/{video_id}/link",
    summary="A link to the clip that needs no token",
    responses=described.errors(404, 409),
)
async def make_link(
    video_id: VideoId, request: Request, context: Shared, wanted: LinkWanted | None = None
) -> Link:
    job = await context.ask(lambda queue: queue.get(video_id))
    if job is None:
        raise refusals.no_video(video_id)
    if job.status != "completed":
        raise refusals.no_content(job)
    expires_at = int(time.time()) + (wanted or LinkWanted()).seconds
    path = await asyncio.to_thread(context.links.path, video_id, expires_at)
    return Link(url=f"{_address(request)}{path}", expires_at=expires_at)


@router.delete("/v1/links", summary="End every link that was made", status_code=204)
async def end_links(context: Shared) -> None:
    await asyncio.to_thread(context.links.rotate)


@router.get(PATH, summary="The clip, by its link", response_class=FileAnswer, responses=description.LINKED)
@router.head(PATH, include_in_schema=False)
async def read_shared(
    video_id: VideoId,
    context: Shared,
    expires: Annotated[int, Query(ge=0, le=2**53)],
    signature: Annotated[str, Query(max_length=100)],
) -> FileAnswer:
    if not await asyncio.to_thread(context.links.is_signed, video_id, expires, signature):
        raise refusals.wrong_link()
    if time.time() >= expires:
        raise refusals.link_ended(expires)
    job = await context.ask(lambda queue: queue.get(video_id))
    if job is None or job.status != "completed":
        raise refusals.no_video(video_id)
    return content.video(context, job)


def _address(request: Request) -> str:
    """Of this service, as the request came to it."""
    told = request.headers.get("x-forwarded-proto", "").partition(",")[0].strip().lower()
    scheme = "https" if told == "https" else request.url.scheme
    return f"{scheme}://{request.url.netloc}"
