"""What all doors share: parameters and a photo become a job in the queue.

Nothing is kept of what is refused.
"""

from __future__ import annotations

import hashlib
import json
import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from anyio import CapacityLimiter
from anyio.to_thread import run_sync

from bootstrap.choose.plan import Plan
from services import parameters
from services.front import refusals
from services.front.context import Context
from services.front.errors import ApiError
from services.parameters import Parameters, images
from services.parameters.images import Picture
from services.parameters.values import Values
from services.queue.job import Job, KeyReused, NewJob, QueueFull
from services.video import fit

RETRY_SECONDS = 5
# A decoded image takes up to 200 MB: not many at a time.
_decoding = CapacityLimiter(2)


@dataclass(frozen=True)
class Once:
    """A request that makes one job, however often a client sends it."""

    key: str  # the client's
    fingerprint: str  # of what it asks for


async def known(context: Context, owner: str, once: Once | None) -> Job | None:
    """The job that this request made before, even if the model has changed since.

    Raises ``ApiError`` when its key was used for another request.
    """
    if once is None:
        return None
    job = await context.ask(lambda queue: queue.by_key(owner, once.key))
    if job is not None and job.fingerprint != once.fingerprint:
        raise refusals.key_reused()
    return job


def fingerprint(asked: Parameters, image: bytes | None) -> str:
    """Of what was asked, not of what became of it: the seed may have been drawn."""
    text = json.dumps(asked.model_dump(exclude_none=True), sort_keys=True)
    digest = hashlib.sha256(text.encode())
    digest.update(hashlib.sha256(image or b"").digest())
    return digest.hexdigest()


async def picture(context: Context, image: bytes | None) -> Picture | None:
    """The image of a request, decoded once and checked. Raises ``RequestError``."""
    if image is None:
        return None
    max_bytes = context.settings.max_image_bytes
    return await run_sync(lambda: images.check(image, max_bytes=max_bytes), limiter=_decoding)


async def job(
    context: Context,
    plan: Plan,
    asked: Parameters,
    *,
    picture: Picture | None = None,
    source: Job | None = None,
    owner: str = "",
    priority: int = 0,
    once: Once | None = None,
) -> Job:
    """Complete the parameters, store the photo, queue the job.

    ``source`` lends its photo if there is no new one. Raises ``ApiError`` or ``RequestError``.
    """
    has_image = picture is not None or (source is not None and source.input_name is not None)
    size = (picture.width, picture.height) if picture else None
    request = parameters.complete(asked, plan, has_image=has_image, image_size=size)
    job_id = f"video_{secrets.token_hex(16)}"
    new = NewJob(
        id=job_id,
        model=plan.model,
        values=request.values,
        prompt=asked.prompt,
        warnings=(*_photo_warnings(context, picture, source, request.values), *request.warnings),
        owner=owner,
        priority=priority,
        remixed_from=source.id if source else None,
        idempotency_key=once.key if once else None,
        fingerprint=once.fingerprint if once else None,
    )
    made, is_new = await run_sync(_store, context, new, picture, source)
    if is_new:
        context.notifier.notify()
    return made


def _photo_warnings(
    context: Context, picture: Picture | None, source: Job | None, values: Mapping[str, Any]
) -> tuple[str, ...]:
    """What the photo loses, known before the clip is made."""
    asked = Values.of(values)
    if picture is not None:
        size, found = (picture.width, picture.height), picture.warnings
    elif source is not None and source.input_name is not None:
        size, found = images.size(context.files.folder(source.id) / source.input_name), ()
    else:
        return ()
    return (*found, *fit.warnings(size, width=asked.width, height=asked.height, fit=asked.fit))


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
    except QueueFull as full:
        raise _full(context, full.queued, new.model) from None
    except KeyReused:
        raise refusals.key_reused() from None
    finally:
        if not is_new:
            files.remove(new.id)
    return job, is_new


def plan_of(context: Context, model: str | None = None) -> Plan:
    """Of this model, or of the one that runs here: this front's own, or one that a worker announces.

    Raises ``ApiError`` 503 while there is none, 404 for a model that is not among them.
    """
    plans, document = context.fleet.plans(), context.boot.document()
    failure = document["failure"]
    if failure:
        raise refusals.boot_failed(failure)
    if not plans:
        raise refusals.not_ready(document["state"], retry_seconds=RETRY_SECONDS)
    if model is None:
        return next(iter(plans.values()))
    if model not in plans:
        raise refusals.other_model(model, fix=f"leave model out, or give {' or '.join(map(repr, plans))}")
    return plans[model]


def _full(context: Context, queued: int, model: str) -> ApiError:
    typical = context.queue.typical_seconds(model)
    workers = max(context.workers.ready, 1)
    return refusals.queue_full(
        queued,
        retry_seconds=30 if typical is None else max(math.ceil(typical / workers), 1),
        all_seconds=None if typical is None else typical * queued / workers,
    )
