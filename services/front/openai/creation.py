"""From the body of a request in OpenAI's dialect to a job."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import Request

from bootstrap.choose.plan import Plan
from services import parameters
from services.front import refusals
from services.front.context import Context
from services.front.creation import create, leaving, once
from services.front.creation.create import Draft, Made
from services.front.creation.remote_image import Address
from services.front.creation.uploads import Room
from services.front.openai import body
from services.front.openai.body import Body
from services.parameters import NAMES, Parameters
from services.parameters.images import Picture
from services.queue.job import Job, Once


async def from_request(request: Request, context: Context) -> Made:
    """A new job, or the one that the same request made before. Raises ``ApiError`` or ``RequestError``."""
    async with context.uploads.room() as room:
        return await _create(request, context, await _read(request, context, room), room)


async def _create(request: Request, context: Context, given: Body, room: Room) -> Made:
    asked = parameters.parse(given.fields, also_known=body.OWN_FIELDS)

    async def drafts() -> list[Draft]:
        plan = create.plan_of(context, given.model)
        picture = await leaving.unless_gone(request, _picture(context, given, room))
        who: dict[str, Any] = {
            "owner": given.user,
            "priority": given.priority,
            "destination": given.destination,
            "limits": given.limits,
        }
        return [create.draft(context, plan, asked, picture=picture, **who)]

    return await create.once(context, _once(request, given, asked), drafts)


async def remix(request: Request, source: Job, context: Context) -> Made:
    """The same again with what is changed; with a new seed where no new prompt can change the clip."""
    async with context.uploads.room() as room:
        return await _remix(request, source, context, await _read(request, context, room), room)


async def _remix(request: Request, source: Job, context: Context, given: Body, room: Room) -> Made:
    changes = parameters.parse(given.fields, also_known=body.OWN_FIELDS)

    async def drafts() -> list[Draft]:
        plan = create.plan_of(context, given.model)
        asked = _changed(source, changes, plan)
        if given.image is None and (not given.fields or _is_same(source, asked, plan)):
            raise refusals.nothing_changed()
        picture = await leaving.unless_gone(request, _picture(context, given, room))
        owner = given.user or source.owner
        who: dict[str, Any] = {"owner": owner, "priority": given.priority}
        who |= {"destination": given.destination, "limits": given.limits}
        return [create.draft(context, plan, asked, picture=picture, source=source, **who)]

    return await create.once(context, _once(request, given, changes), drafts)


def _changed(source: Job, changes: Parameters, plan: Plan) -> Parameters:
    """The source's values that this model reads, and the changes over them."""
    old = _readable(source, plan)
    if "text" not in plan.inputs:
        old.pop("seed", None)  # the prompt changes nothing here: the same seed would give the same clip
    new = changes.model_dump(exclude_none=True)
    if "size" in new:
        old.pop("width", None), old.pop("height", None)
    if "seconds" in new:
        old.pop("num_frames", None)
    return Parameters.model_validate(old | new)


def _is_same(source: Job, asked: Parameters, plan: Plan) -> bool:
    """Whether it would be the same clip again."""
    return plan.model == source.model and asked.model_dump(exclude_none=True) == _readable(source, plan)


def _readable(source: Job, plan: Plan) -> dict[str, object]:
    readable = set(NAMES) & set(plan.family.parameters)
    return {name: value for name, value in source.values.items() if name in readable and value is not None}


async def _read(request: Request, context: Context, room: Room) -> Body:
    await context.fleet.refresh()
    create.plan_of(context)  # refused before the body, which may be large, is read
    return await body.read(request, room, max_image_bytes=context.settings.max_image_bytes)


async def _picture(context: Context, given: Body, room: Room) -> Picture | None:
    if isinstance(given.image, Address):
        await room.take()
    return await create.picture(context, given.image)


def _once(request: Request, given: Body, asked: Parameters) -> Once:
    image = given.image.url.encode() if isinstance(given.image, Address) else given.image
    own = {name: value for name, value in asdict(given).items() if name not in ("fields", "image")}
    return once.of(request, asked.model_dump(exclude_none=True) | own, image)
