"""``/v1/videos/edits`` and ``extensions``: a new clip that starts from a frame of another video; characters.

Both make the clip from one frame and the prompt: no model here reads a whole video. An extension is the part
that follows, without the part before.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request, Response

from bootstrap.choose.plan import Plan
from services import parameters
from services.front import described, refusals
from services.front.context import Context, Shared
from services.front.creation import create, once
from services.front.creation.create import Draft, Made
from services.front.openai import body, description, source_video
from services.front.openai.schemas import Video
from services.front.openai.source_video import Given
from services.front.openai.videos import answer
from services.parameters import Parameters, RequestError
from services.queue.job import Job

router = APIRouter(prefix="/v1/videos", tags=["videos"])

AT = "at_seconds"
LONGEST_SECONDS = 3600.0
KEPT = ("width", "height", "fps")  # a clip that goes on with another has its shape


@router.post(
    "/edits",
    summary="A new clip from a frame of a video and a prompt",
    responses=description.MADE | described.errors(501),
    openapi_extra=description.source_body("prompt", "video", extra=(AT,)),
)
async def edit_video(request: Request, response: Response, context: Shared) -> Video:
    return await _made("edits", request, response, context)


@router.post(
    "/extensions",
    summary="The part that follows the last frame of a video",
    responses=description.MADE | described.errors(501),
    openapi_extra=description.source_body("prompt", "seconds", "video"),
)
async def extend_video(request: Request, response: Response, context: Shared) -> Video:
    return await _made("extensions", request, response, context)


@router.post("/characters", summary="Not offered by any model", responses=described.errors(501))
@router.get("/characters/{character_id}", summary="Not offered by any model", responses=described.errors(501))
async def character() -> Response:
    raise refusals.not_offered(
        "characters are read by no model of this kit",
        fix="describe the person in the prompt, or send a photo",
    )


async def _made(verb: str, request: Request, response: Response, context: Context) -> Video:
    await context.fleet.refresh()
    _check_model(verb, create.plan_of(context))  # before the body, which may be large, is read
    async with source_video.read(request) as given:
        made = await _from(verb, request, given, context)
    once.mark(response, replayed=made.is_replay)
    return await answer(made.jobs[0], response, context)


async def _from(verb: str, request: Request, given: Given, context: Context) -> Made:
    fields = dict(given.fields)
    which = _frame(fields, verb)
    sorted_fields = body.sort(fields, 0)
    asked = parameters.parse(sorted_fields.fields, also_known=(*body.OWN_FIELDS, source_video.FIELD, AT))
    _check_required(verb, asked)

    async def drafts() -> list[Draft]:
        plan = create.plan_of(context, sorted_fields.model)
        _check_model(verb, plan)
        source, png = await source_video.picture(context, given, which)
        picture = await create.picture(context, png)
        wanted = _like(source, asked, plan) if source is not None else asked
        who: dict[str, Any] = {
            "owner": sorted_fields.user,
            "priority": sorted_fields.priority,
            "destination": sorted_fields.destination,
        }
        return [create.draft(context, plan, wanted, picture=picture, source=source, **who)]

    told = {"fields": given.fields, "video": given.video_id, "digest": given.digest}
    return await create.once(context, once.of(request, told), drafts)


def _check_model(verb: str, plan: Plan) -> None:
    if "image" not in plan.inputs:
        raise refusals.not_offered(
            f"{plan.model} makes clips from text and reads no frame of a video: {verb} need one that does",
            fix="run a model that starts from an image (kinokit models), or POST /v1/videos/{id}/remix",
        )


def _check_required(verb: str, asked: Parameters) -> None:
    if not (asked.prompt or "").strip():
        raise RequestError(
            "no prompt is given", fix="say what to show", param="prompt", code="prompt_required"
        )
    if verb == "extensions" and asked.seconds is None and asked.num_frames is None:
        raise RequestError("no length is given", fix="say how many seconds the new part has", param="seconds")


def _frame(fields: dict[str, Any], verb: str) -> str:
    """Which frame it starts from, for ``services.video.frame``; its field is taken out."""
    if verb == "extensions":
        return "last"
    value = fields.pop(AT, None)
    if value in (None, ""):
        return "first"
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = -1.0
    if not 0 <= seconds <= LONGEST_SECONDS:
        raise RequestError(
            f"{AT} {str(value)[:60]!r} is no number of seconds", fix="0 is the first frame", param=AT
        )
    return f"{seconds}"


def _like(source: Job, asked: Parameters, plan: Plan) -> Parameters:
    """As it was asked, in the shape of the video that was made here."""
    old: Mapping[str, Any] = source.values
    kept = {name: old[name] for name in KEPT if name in plan.family.parameters and old.get(name) is not None}
    given = asked.model_dump(exclude_none=True)
    if {"size", "width", "height"} & set(given):
        kept.pop("width", None), kept.pop("height", None)
    return Parameters.model_validate(kept | given)
