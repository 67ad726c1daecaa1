"""From the body of a request in OpenAI's dialect to a job."""

from __future__ import annotations

from fastapi import Request

from bootstrap.choose.plan import Plan
from services import parameters
from services.front import create, refusals
from services.front.context import Context
from services.front.create import Once
from services.front.openai import body
from services.front.openai.body import Body
from services.parameters import NAMES, Parameters
from services.queue.job import Job

MAX_KEY_LENGTH = 255


async def from_request(request: Request, context: Context) -> Job:
    """A new job, or the one that the same request made before. Raises ``ApiError`` or ``RequestError``."""
    given, plan = await _read(request, context)
    asked = parameters.parse(given.fields, also_known=body.OWN_FIELDS)
    once = _once(request, given, asked)
    known = await create.known(context, given.user, once)
    if known is not None:
        return known
    picture = await create.picture(context, given.image)
    return await create.job(
        context, plan, asked, picture=picture, owner=given.user, priority=given.priority, once=once
    )


async def remix(request: Request, source: Job, context: Context) -> Job:
    """The same again with what is changed; with a new seed where no new prompt can change the clip."""
    given, plan = await _read(request, context)
    changes = parameters.parse(given.fields, also_known=body.OWN_FIELDS)
    asked = _changed(source, changes, plan)
    picture = await create.picture(context, given.image)
    owner = given.user or source.owner
    return await create.job(
        context, plan, asked, picture=picture, source=source, owner=owner, priority=given.priority
    )


def _changed(source: Job, changes: Parameters, plan: Plan) -> Parameters:
    """The source's values that this model reads, and the changes over them."""
    readable = set(NAMES) & set(plan.family.parameters)
    old = {name: value for name, value in source.values.items() if name in readable}
    if "text" not in plan.inputs:
        old.pop("seed", None)  # the prompt changes nothing here: the same seed would give the same clip
    new = changes.model_dump(exclude_none=True)
    if "size" in new:
        old.pop("width", None), old.pop("height", None)
    if "seconds" in new:
        old.pop("num_frames", None)
    return Parameters.model_validate(old | new)


async def _read(request: Request, context: Context) -> tuple[Body, Plan]:
    """The body, and the plan of the model that it asks for."""
    await context.fleet.refresh()
    create.plan_of(context)  # refused before the body, which may be large, is read
    given = await body.read(request, max_image_bytes=context.settings.max_image_bytes)
    return given, create.plan_of(context, given.model)


def _once(request: Request, given: Body, asked: Parameters) -> Once | None:
    """The Idempotency-Key header and what it stands for; None without one."""
    key = request.headers.get("idempotency-key")
    if key is not None and len(key) > MAX_KEY_LENGTH:
        raise refusals.key_too_long(MAX_KEY_LENGTH)
    return Once(key, create.fingerprint(asked, given.image)) if key else None
