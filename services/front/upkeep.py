"""Upkeep of the queue: leases that ran out, folders that nobody knows."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from contextlib import suppress

from fastapi.concurrency import run_in_threadpool

from bootstrap.errors import KitError
from services.front.context import Context
from services.queue import notifier
from services.queue.job import DatabaseDown

log = logging.getLogger("kinokit.front")

RETRY_SECONDS = 2.0  # after one that failed
SLACK_SECONDS = 0.05  # a lease that ends now has not ended yet
LATE_SECONDS = 5.0  # a sleep that takes so much longer: the whole front did not run


async def keep(context: Context) -> None:
    """For ever. It sleeps until the next lease ends; without one, until something happens in the queue."""
    settings = context.settings
    purged_at, reported = -math.inf, ""  # the clock of a machine that has just started is near zero
    while True:
        change, pause = context.notifier.subscribe(), RETRY_SECONDS
        try:
            if await context.ask(lambda queue: queue.take_back()):
                context.notifier.notify()
            if time.monotonic() - purged_at > settings.purge_seconds:
                await run_in_threadpool(_purge, context)
                purged_at = time.monotonic()
            left = await context.ask(lambda queue: queue.left_seconds())
            if left is None:
                # no longer: a late beat takes a job back without a word, and other fronts give leases, too
                await notifier.wait(change, settings.lease_seconds)
                continue
            pause = max(0.0, min(left, settings.lease_seconds, settings.purge_seconds)) + SLACK_SECONDS
        except DatabaseDown:
            pass  # the queue has logged it; the next round tries again
        except (KitError, OSError) as error:
            if str(error) != reported:
                log.error("upkeep: %s", error)
            reported = str(error)
        except Exception:
            log.exception("upkeep failed")
        until = time.monotonic() + pause
        await asyncio.sleep(pause)
        if time.monotonic() - until > LATE_SECONDS:  # held, as every beat was that came meanwhile
            await _give_grace(context)


async def _give_grace(context: Context) -> None:
    with suppress(DatabaseDown, KitError, OSError):  # the queue does so itself after such an outage
        await context.ask(lambda queue: queue.grant_grace())


def _purge(context: Context) -> None:
    for job_id in context.queue.missing(context.files.old_leftovers()):
        context.files.remove(job_id)
