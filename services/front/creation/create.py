"""What all doors share: parameters and a photo become a job in the queue.

Nothing is kept of what is refused.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from anyio.to_thread import run_sync

from bootstrap.choose.plan import Plan
from services import parameters
from services.front import refusals
from services.front.context import Context
from services.front.creation import remote_image
from services.front.creation.limits import NONE, Limits
from services.front.creation.remote_image import Address, Allowed
from services.front.door import caller
from services.front.errors import ApiError
from services.front.results.destination import HERE, Destination
from services.parameters import Parameters, images
from services.parameters.images import Picture
from services.parameters.values import Values
from services.queue.job import (
    Allowance,
    DatabaseDown,
    Job,
    KeyReused,
    NewJob,
    Once,
    OverAllowance,
    QueueFull,
)
from services.video import fit

RETRY_SECONDS = 5


@dataclass(frozen=True)
class Draft:
    """A job that is complete and checked, before it is in the queue."""

    new: NewJob
    picture: Picture | None = None
    source: Job | None = None  # lends its photo if there is no new one


@dataclass(frozen=True)
class Made:
    """``is_replay``: the same request made these jobs before."""

    jobs: list[Job]
    is_replay: bool


async def once(context: Context, once: Once, drafts: Callable[[], Awaitable[Sequence[Draft]]]) -> Made:
    """The jobs of ``drafts``, or those that the same request made before, even if the model changed since.

    Raises ``ApiError`` when its key was used for another request, or is under way.
    """
    async with context.under_way.taking(once):
        try:
            known = None if once.is_new else await context.ask(lambda queue: queue.made_before(once))
        except KeyReused:
            raise refusals.key_reused() from None
        if known is not None:
            return Made(known, is_replay=True)
        return await store(context, await drafts(), once)


async def picture(context: Context, image: bytes | Address | None) -> Picture | None:
    """The image of a request, decoded once and checked. Raises ``RequestError``."""
    settings = context.settings
    if isinstance(image, Address):
        allowed = Allowed(settings.remote_images, settings.private_hosts, settings.max_image_bytes)
        image = await remote_image.fetch(image, allowed)
    if image is None:
        return None
    return await context.photos.check(image, max_bytes=settings.max_image_bytes)


async def job(
    context: Context,
    plan: Plan,
    asked: Parameters,
    *,
    picture: Picture | None = None,
    source: Job | None = None,
    owner: str = "",
    priority: int = 0,
) -> Job:
    """Complete the parameters, store the photo, queue the job. Raises ``ApiError`` or ``RequestError``."""
    asked_for = draft(context, plan, asked, picture=picture, source=source, owner=owner, priority=priority)
    return (await store(context, [asked_for])).jobs[0]


def draft(
    context: Context,
    plan: Plan,
    asked: Parameters,
    *,
    picture: Picture | None = None,
    source: Job | None = None,
    owner: str = "",
    priority: int = 0,
    destination: Destination = HERE,
    limits: Limits = NONE,
) -> Draft:
    """Complete the parameters; nothing is kept yet. Raises ``RequestError``."""
    if picture is None and source is not None and source.input_name and source.expired_at is not None:
        raise refusals.expired(source)
    by = caller.current()
    if priority > 0 and not by.may("admin"):
        raise refusals.priority_not_allowed(priority)
    webhook = context.webhooks.of(destination)
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
        owner=by.key_id or owner,  # a key takes one turn, however many users it names
        key_id=by.key_id,
        priority=priority,
        remixed_from=source.id if source else None,
        results_prefix=destination.results_prefix,
        timeout_seconds=limits.timeout_seconds,
        ttl_seconds=limits.ttl_seconds,
        webhook=webhook,
        webhook_told=None if webhook is None else "",
    )
    return Draft(new, picture, source)


async def store(context: Context, drafts: Sequence[Draft], once: Once | None = None) -> Made:
    """Their photos and rows: all or none. Raises ``ApiError``."""
    await context.readiness.admit()
    made = await run_sync(_store, context, drafts, once)
    if not made.is_replay:
        for each in made.jobs:
            context.tally.make(each.model)
        context.notifier.notify(made.jobs[0].id)  # nobody watches the others yet
        context.webhooks.expect()
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


def _store(context: Context, drafts: Sequence[Draft], once: Once | None) -> Made:
    """The inputs first: a worker may claim a job the moment it is in the table."""
    try:
        new = [replace(draft.new, input_name=_keep_input(context, draft)) for draft in drafts]
        max_queued = context.settings.max_queued
        jobs, is_new = context.queue.enqueue_all(
            new, max_queued=max_queued, once=once, allowance=allowance(max_queued)
        )
    except DatabaseDown:  # only its answer may be lost: upkeep removes the photos of jobs that are not there
        raise
    except BaseException as error:
        _drop_inputs(context, drafts)
        if isinstance(error, QueueFull):
            raise _full(context, error.queued, drafts[0].new.model) from None
        if isinstance(error, KeyReused):
            raise refusals.key_reused() from None
        if isinstance(error, OverAllowance):
            raise refusals.over_allowance(error) from None
        raise
    if not is_new:
        _drop_inputs(context, drafts)
    return Made(jobs, is_replay=not is_new)


def _drop_inputs(context: Context, drafts: Sequence[Draft]) -> None:
    for draft in drafts:
        context.files.remove(draft.new.id)


def allowance(max_queued: int) -> Allowance | None:
    """Of the key that asks: its share of the queue and what it may use in a day; None for the owner."""
    by = caller.current()
    if by.key_id is None:
        return None
    share = max(1, int(max_queued * by.limits.queue_share))
    return Allowance(by.key_id, share, by.limits.clips_per_day, by.limits.gpu_seconds_per_day)


def _keep_input(context: Context, draft: Draft) -> str | None:
    source = draft.source
    if draft.picture is not None:
        return context.files.keep_input(draft.new.id, draft.picture.data, draft.picture.suffix)
    if source is not None and source.input_name is not None:
        return context.files.copy_input(source.id, source.input_name, draft.new.id)
    return None


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
