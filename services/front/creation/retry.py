"""A failed job once more, under its own id, so that whoever waits for it finds it where it was."""

from __future__ import annotations

from services.front import refusals
from services.front.context import Context
from services.front.creation import create
from services.queue.job import Allowance, Job, NotFound, OverAllowance, QueueFull
from services.queue.selection import NotFailed

RETRY_SECONDS = 5


async def begin(job: Job, context: Context) -> Job:
    """Raises ``ApiError`` when it did not fail, its photo is gone, or the queue is full."""
    if job.input_name and not (context.files.folder(job.id) / job.input_name).is_file():
        raise refusals.photo_missing(job)
    most = context.settings.max_queued
    allowance = create.allowance(most)
    if allowance is not None:
        await _admit(allowance, context)
    try:
        again = await context.ask(lambda queue: queue.operations.retry(job.id, max_queued=most))
    except NotFound:
        raise refusals.no_video(job.id) from None
    except NotFailed as found:
        raise refusals.not_failed(found.job) from None
    except QueueFull as full:
        raise refusals.queue_full(full.queued, retry_seconds=RETRY_SECONDS, all_seconds=None) from None
    context.notifier.notify()
    context.webhooks.expect()
    return again


async def _admit(allowance: Allowance, context: Context) -> None:
    try:
        await context.ask(lambda queue: queue.usage.admit(allowance))
    except OverAllowance as over:
        raise refusals.over_allowance(over) from None
