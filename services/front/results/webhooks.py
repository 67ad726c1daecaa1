"""Webhooks are sent: what jobs owe is written down, tried, and tried again for days, at least once each.

Nothing polls: it sleeps until a job that somebody waits for changes, or the next try is due.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from bootstrap.errors import KitError
from services.front.results import destination, webhook_messages
from services.front.results.destination import Destination
from services.front.settings import Settings
from services.queue.job import DatabaseDown, Job
from services.queue.notifier import Notifier

if TYPE_CHECKING:
    import httpx

    from services.queue.delivery import Delivery
    from services.queue.queue import Queue

Ask = Callable[[Callable[["Queue"], Any]], Awaitable[Any]]  # ``Context.ask``

log = logging.getLogger("kinokit.front")

AT_ONCE = 16
AT_ONCE_TO_A_HOST = 4  # a slow receiver leaves room for the others
GROWTH = 3.0  # of the pause from try to try
LONGEST_PAUSE_SECONDS = 6 * 3600.0
LOOK_SECONDS = 1.0  # another front may hold the worker, whose reports do not come here
RETRY_SECONDS = 2.0  # after a database that was away
GONE, TOO_MANY, UNAVAILABLE = 410, 429, 503


@dataclass(frozen=True)
class Answer:
    """What a receiver made of a message; ``status`` None: nothing came back."""

    status: int | None
    error: str | None = None
    retry_after_seconds: float = 0.0

    @property
    def is_taken(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


class Webhooks:
    def __init__(self, settings: Settings, notifier: Notifier, ask: Ask) -> None:
        self._settings = settings
        self._notifier = notifier
        self._ask = ask
        self._wake = asyncio.Event()
        self._under_way: dict[asyncio.Task[None], str] = {}  # each try, and its host
        self._http: httpx.AsyncClient | None = None
        self._secret = settings.webhook_secret

    def of(self, asked: Destination) -> dict[str, Any] | None:
        """Whom a new job tells of what: as it asks, else as this box is set; None: nobody.

        Raises ``RequestError`` for an address that leads into a private network.
        """
        settings = self._settings
        if asked.webhook_url is not None:
            destination.check(asked, settings.private_hosts)
        url = asked.webhook_url or settings.webhook_url
        return {"url": url, "events": [*(asked.webhook_events or settings.webhook_events)]} if url else None

    def public(self) -> dict[str, Any]:
        """How this box is set, without what may be secret."""
        settings = self._settings
        return {
            "host": urlsplit(settings.webhook_url or "").hostname,
            "secret": "own" if settings.webhook_secret is None else "set",
            "format": settings.webhook_format,
            "events": settings.webhook_events,
            "under_way": len(self._under_way),
        }

    def expect(self) -> None:
        """A job was made that tells somebody, or a message is to be sent again."""
        self._wake.set()

    async def run(self) -> None:
        """For ever."""
        try:
            while True:
                change = self._notifier.subscribe()
                self._wake.clear()
                is_owing, wait = True, RETRY_SECONDS
                try:
                    is_owing = await self._write_owed()
                    wait = await self._begin_due()
                except (DatabaseDown, KitError, OSError):
                    pass  # the queue or the upkeep has logged it
                except Exception:
                    log.exception("webhooks failed")
                if is_owing and self._settings.is_shared:
                    wait = min(wait, LOOK_SECONDS)
                await _first([self._wake, *([change] if is_owing else [])], wait)
        finally:
            for task in self._under_way:
                task.cancel()
            if self._http is not None:
                await self._http.aclose()

    # -- what is owed --------------------------------------------------------------------------------

    async def _write_owed(self) -> bool:
        """Write the messages of each job whose status is new; whether any may follow."""
        while True:
            found: tuple[list[Job], bool] = await self._ask(lambda queue: queue.deliveries.owing())
            new = [job for job in found[0] if not self._is_copied_first(job)]
            for job in new:
                await self._write(job)
            if not new:
                return found[1]

    def _is_copied_first(self, job: Job) -> bool:
        """Where clips are copied, the message waits for the first try: who is told finds the copy."""
        if self._settings.results_url is None or job.status != "completed" or job.copied_to:
            return False
        return (job.copy_state or {}).get("last_error") is None

    async def _write(self, job: Job) -> None:
        owed = webhook_messages.owed(job, self._settings.webhook_format)
        await self._ask(lambda queue: queue.deliveries.write(job, owed))

    # -- tries ---------------------------------------------------------------------------------------

    async def _begin_due(self) -> float:
        """Begin what is due and has room; seconds until the next is, for ever where an event tells it."""
        while len(self._under_way) < AT_ONCE:
            full = self._full_hosts()
            limit = AT_ONCE - len(self._under_way)
            due: list[Delivery] = await self._ask(partial(_due, limit=limit, but_not=full))
            if not due:
                break
            for each in due:
                if each.host not in self._full_hosts():
                    await self._begin(each)
        else:
            return math.inf  # the next end makes room
        full = self._full_hosts()
        left: float | None = await self._ask(lambda queue: queue.deliveries.seconds_to_next(but_not=full))
        return math.inf if left is None else max(left, 0.0)

    def _full_hosts(self) -> tuple[str, ...]:
        busy = Counter(self._under_way.values())
        return tuple(host for host, count in busy.items() if count >= AT_ONCE_TO_A_HOST)

    async def _begin(self, due: Delivery) -> None:
        lease = 2 * self._settings.webhook_timeout_seconds
        if not await self._ask(lambda queue: queue.deliveries.take(due.number, lease_seconds=lease)):
            return  # another front's
        task = asyncio.create_task(self._deliver(due))
        self._under_way[task] = due.host
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._under_way[task]
        self._wake.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error(
                "a webhook's end was not kept: %s", type(error).__name__
            )  # its lease ends, it comes again

    async def _deliver(self, due: Delivery) -> None:
        answer = await self._post(due)
        status, error = answer.status, answer.error
        if answer.is_taken:
            await self._ask(lambda queue: queue.deliveries.end(due.number, "delivered", status, error))
            return
        pause = self._pause(due.attempts + 1, answer)
        if answer.status == GONE or due.age_seconds + pause > self._settings.webhook_give_up_seconds:
            log.warning("the webhook of %s to %s is given up: %s", due.job_id, due.host, answer.error)
            await self._ask(lambda queue: queue.deliveries.end(due.number, "failed", status, error))
            return
        log.info("the webhook of %s to %s waits %.0f s: %s", due.job_id, due.host, pause, answer.error)
        await self._ask(lambda queue: queue.deliveries.retry(due.number, pause, status, error))

    def _pause(self, attempts: int, answer: Answer) -> float:
        grown = self._settings.webhook_pause_seconds * GROWTH ** min(attempts - 1, 20)
        pause = min(grown, LONGEST_PAUSE_SECONDS) * random.uniform(0.8, 1.2)  # noqa: S311 - spreads the load
        return max(pause, answer.retry_after_seconds)

    async def _post(self, due: Delivery) -> Answer:
        """One try. Neither the address nor what it answers gets into a text: both may hold secrets."""
        from services.front.public_hosts import NotPublic  # httpx: only where there are webhooks

        timeout = self._settings.webhook_timeout_seconds
        try:
            async with asyncio.timeout(timeout):
                head = webhook_messages.headers(due.id, due.body, self._signing(), at=time.time())
                async with self._client().stream("POST", due.url, content=due.body, headers=head) as answer:
                    return _answer(answer.status_code, answer.headers.get("retry-after", ""))
        except TimeoutError:
            return Answer(None, f"no answer within {timeout:g} s")
        except NotPublic as error:
            return Answer(None, f"{error}; private_hosts may name it")
        except Exception as error:  # whatever an address makes of it
            return Answer(None, f"no answer: {type(error).__name__}")

    def _client(self) -> httpx.AsyncClient:
        if self._http is None:
            import httpx

            from services.front.public_hosts import PublicOnly

            door = PublicOnly(self._settings.private_hosts)
            self._http = httpx.AsyncClient(transport=door, trust_env=False, timeout=None)  # noqa: S113
        return self._http

    def _signing(self) -> str:
        if self._secret is None:
            self._secret = webhook_messages.own_secret(self._settings.data_dir / "webhook-secret")
        return self._secret


def _due(queue: Queue, limit: int, but_not: tuple[str, ...]) -> list[Delivery]:
    return queue.deliveries.due(limit=limit, but_not=but_not)


def _answer(status: int, retry_after: str) -> Answer:
    if 200 <= status < 300:
        return Answer(status)
    asked = _seconds(retry_after) if status in (TOO_MANY, UNAVAILABLE) else 0.0
    return Answer(status, f"the receiver answered {status}", asked)


def _seconds(retry_after: str) -> float:
    """What a Retry-After asks for, as a number or a date; within what a message is tried for."""
    try:
        if retry_after.strip().isdigit():
            seconds = float(retry_after)
        else:
            seconds = (parsedate_to_datetime(retry_after) - datetime.now(UTC)).total_seconds()
    except (TypeError, ValueError):
        return 0.0
    return min(max(seconds, 0.0), LONGEST_PAUSE_SECONDS)


async def _first(events: list[asyncio.Event], seconds: float) -> None:
    """Until one of them, at most this long."""
    waits = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(
            waits, timeout=None if seconds == math.inf else seconds, return_when=asyncio.FIRST_COMPLETED
        )
    finally:
        for wait in waits:
            wait.cancel()
