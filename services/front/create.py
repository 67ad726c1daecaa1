"""From a request's body to a job in the queue. Nothing is kept of what is refused."""

from __future__ import annotations

import hashlib
import json
import math
import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from fastapi import Request

from bootstrap.choose.plan import Plan
from services import parameters
from services.front import refusals
from services.front.context import Context
from services.front.errors import ApiError
from services.front.openai import body
from services.front.openai.body import Body
from services.parameters import NAMES, Parameters, images
from services.parameters.images import Picture
from services.queue.job import Full, Job, KeyReused, NewJob
from services.video import fit

RETRY_SECONDS = 5
MAX_KEY_LENGTH = 255
# A decoded image takes up to 200 MB: not many at a time.
_decoding = CapacityLimiter(2)


async def from_request(request: Request, context: Context) -> Job:
    """Raises ``ApiError`` or ``RequestError``."""
    plan = plan_of(context)
    given = await body.read(request, max_image_bytes=context.settings.max_image_bytes)
    _check_model(given, plan)
    asked = parameters.parse(given.fields, also_known=body.OWN_FIELDS)
    key = _key(request)
    known = await _known(context, given, asked, key)
    if known is not None:
        return known
    picture = await _picture(given, context)
    return await keep(
        context,
        plan,
        asked,
        picture=picture,
        owner=given.user,
        priority=given.priority,
        key=key,
        fingerprint=_fingerprint(given, asked),
    )


async def remix(request: Request, source: Job, context: Context) -> Job:
    """The same again with what is changed; without a new prompt that counts, with a new seed."""
    plan = plan_of(context)
    given = await body.read(request, max_image_bytes=context.settings.max_image_bytes)
    _check_model(given, plan)
    changes = parameters.parse(given.fields, also_known=body.OWN_FIELDS)
    old = {name: value for name, value in source.values.items() if name in NAMES and _readable(name, plan)}
    if "text" not in plan.inputs:
        old.pop("seed", None)  # the prompt changes nothing here: the same seed would give the same clip
    new = changes.model_dump(exclude_none=True)
    if "size" in new:
        old.pop("width", None), old.pop("height", None)
    if "seconds" in new:
        old.pop("num_frames", None)
    asked = Parameters.model_validate(old | new)
    picture = await _picture(given, context)
    owner = given.user or source.owner
    return await keep(
        context, plan, asked, picture=picture, source=source, owner=owner, priority=given.priority
    )


def _readable(name: str, plan: Plan) -> bool:
    return name in plan.family.parameters


async def keep(
    context: Context,
    plan: Plan,
    asked: Parameters,
    *,
    picture: Picture | None = None,
    source: Job | None = None,
    owner: str = "",
    priority: int = 0,
    key: str | None = None,
    fingerprint: str | None = None,
) -> Job:
    """Complete the request, store its input, queue it. ``source`` lends its input if there is no new one."""
    has_image = picture is not None or (source is not None and source.input_name is not None)
    size = (picture.width, picture.height) if picture else None
    request = parameters.complete(asked, plan, has_image=has_image, image_size=size)
    job_id = f"video_{secrets.token_hex(16)}"
    new = NewJob(
        id=job_id,
        model=plan.model,
        values=request.values,
        prompt=asked.prompt,
        warnings=(*_photo_warnings(picture, request.values), *request.warnings),
        owner=owner,
        priority=priority,
        remixed_from=source.id if source else None,
        idempotency_key=key,
        fingerprint=fingerprint,
    )
    job, is_new = await run_sync(_store, context, new, picture, source)
    if is_new:
        context.bell.ring()
    return job


def _photo_warnings(picture: Picture | None, values: Mapping[str, Any]) -> tuple[str, ...]:
    """What the photo loses, told before the clip is made."""
    if picture is None:
        return ()
    size, fitting = (picture.width, picture.height), values["fit"]
    lost = fit.warnings(size, width=values["width"], height=values["height"], fit=fitting)
    return (*picture.warnings, *lost)


def _store(context: Context, new: NewJob, picture: Picture | None, source: Job | None) -> tuple[Job, bool]:
    """The input first: a worker may claim the job the moment it is in the table."""
    files, job, is_new = context.files, None, False
    try:
        name = None
        if picture is not None:
            name = files.keep_input(new.id, picture.data, picture.suffix)
        elif source is not None and source.input_name is not None:
            name = files.copy_input(source.id, source.input_name, new.id)
        new = replace(new, input_name=name)
        job, is_new = context.queue.enqueue(new, max_queued=context.settings.max_queued)
    except Full as full:
        raise _full(context, full.queued, new.model) from None
    except KeyReused:
        raise refusals.key_reused() from None
    finally:
        if not is_new:
            files.remove(new.id)
    return job, is_new


def plan_of(context: Context) -> Plan:
    """The plan, once bootstrap has one and did not fail. Raises ``ApiError`` 503."""
    plan, document = context.boot.plan(), context.boot.document()
    failure = document["failure"]
    if failure:
        raise refusals.boot_failed(failure)
    if plan is None:
        raise refusals.not_ready(document["state"], retry_seconds=RETRY_SECONDS)
    return plan


def _check_model(given: Body, plan: Plan) -> None:
    if given.model not in (None, plan.model):
        raise refusals.other_model(given.model, fix=f"leave model out, or give {plan.model!r}")


async def _picture(given: Body, context: Context) -> Picture | None:
    if given.image is None:
        return None
    data, max_bytes = given.image, context.settings.max_image_bytes
    return await run_sync(lambda: images.check(data, max_bytes=max_bytes), limiter=_decoding)


def _key(request: Request) -> str | None:
    key = request.headers.get("idempotency-key")
    if key is not None and len(key) > MAX_KEY_LENGTH:
        raise refusals.key_too_long(MAX_KEY_LENGTH)
    return key or None


async def _known(context: Context, given: Body, asked: Parameters, key: str | None) -> Job | None:
    """The job that this key made before: also when the model has changed since."""
    if key is None:
        return None
    job = await context.ask(lambda queue: queue.by_key(given.user, key))
    if job is not None and job.fingerprint != _fingerprint(given, asked):
        raise refusals.key_reused()
    return job


def _fingerprint(given: Body, asked: Parameters) -> str:
    """Of what was asked, not of what became of it: the seed may have been drawn."""
    text = json.dumps(asked.model_dump(exclude_none=True), sort_keys=True)
    digest = hashlib.sha256(text.encode())
    digest.update(hashlib.sha256(given.image or b"").digest())
    return digest.hexdigest()


def _full(context: Context, queued: int, model: str) -> ApiError:
    typical = context.queue.typical_seconds(model)
    workers = max(context.crew.ready, 1)
    return refusals.queue_full(
        queued,
        retry_seconds=30 if typical is None else max(math.ceil(typical / workers), 1),
        all_seconds=None if typical is None else typical * queued / workers,
    )
