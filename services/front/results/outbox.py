"""Finished clips are copied to another place as they finish: a rented box may be gone tomorrow."""

from __future__ import annotations

import json
import logging
import math
import os
import random
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from fastapi.concurrency import run_in_threadpool

from services.front.results import clip_names
from services.front.results.stores import Store
from services.front.settings import Settings
from services.queue import notifier
from services.queue.files import Files
from services.queue.job import DatabaseDown, Job
from services.queue.notifier import Notifier

if TYPE_CHECKING:
    from services.queue.queue import Queue

Ask = Callable[[Callable[["Queue"], Any]], Awaitable[Any]]  # ``Context.ask``

log = logging.getLogger("kinokit.front")

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 2.0, 600.0  # between tries of a clip
AT_A_TIME = 20  # clips that are looked at
LEASE_SECONDS = 900.0  # another front takes a copy for lost after this
LOOK_SECONDS = 60.0  # another front may have made a clip, which notifies nobody here


@dataclass(frozen=True)
class Link:
    """An address by which anybody can fetch the copy until it expires; times are since the epoch."""

    url: str | None
    expires_at: float | None


class Outbox:
    """One copy after the other, oldest first; a clip that cannot be copied lets the others pass."""

    def __init__(self, settings: Settings, files: Files, notifier: Notifier, ask: Ask) -> None:
        assert settings.results_url is not None, "somewhere to copy to"
        self._settings = settings
        self._store = Store(settings.results_url, settings.results_endpoint_url)
        self._files = files
        self._notifier = notifier
        self._ask = ask
        self.failure: str | None = None  # why the last try failed
        self._waiting = 0

    def public(self) -> dict[str, Any]:
        settings, state = self._settings, {"waiting": self._waiting, "failure": self.failure}
        kept = {"endpoint": settings.results_endpoint_url, "name": settings.results_name}
        return {"to": self._store.address, **state, **kept, "link_hours": settings.results_link_hours}

    @property
    def is_busy(self) -> bool:
        """A copy is under way, or will be at once."""
        return self._waiting > 0 and self.failure is None

    async def empty(self) -> None:
        """For ever. A clip that cannot be copied is tried again; nothing is given up."""
        is_begun = self._settings.is_shared
        while True:
            change, wait = self._notifier.subscribe(), FIRST_PAUSE_SECONDS
            try:
                if not is_begun:
                    await self._ask(lambda queue: queue.copies.restart())
                    is_begun = True
                due: list[Job] = await self._ask(lambda queue: queue.copies.due(AT_A_TIME))
                for job in due:
                    await self._copy(job)
                if due:
                    continue
                wait = await self._rest_seconds()
            except DatabaseDown:
                pass  # the queue has logged it
            except Exception as error:
                log.error("clips are not copied now: %s", type(error).__name__)
            await notifier.wait(change, wait)

    async def _rest_seconds(self) -> float:
        left: float | None = await self._ask(lambda queue: queue.copies.seconds_to_next())
        most = LOOK_SECONDS if self._settings.is_shared else math.inf
        rest = min(most, math.inf if left is None else max(left, 0.0))
        return rest if rest < math.inf else LONGEST_PAUSE_SECONDS

    async def _copy(self, job: Job) -> None:
        attempt = await self._ask(lambda queue: queue.copies.take(job, lease_seconds=LEASE_SECONDS))
        if attempt is None:
            return  # another front's, or deleted meanwhile
        self._waiting = await self._ask(lambda queue: queue.copies.waiting())
        try:
            address, link = await run_in_threadpool(self._put, job)
        except Exception as error:  # whatever a storage's library raises
            await self._fail(job, attempt, error)
            return
        state = {"state": "copied", "attempts": attempt, **vars(link)}
        self._waiting = await self._ask(lambda queue: queue.copies.keep(job.id, address, state))
        self.failure = None
        self._notifier.notify(job.id)
        log.info("clip %s is copied to %s", job.id, address)

    def _put(self, job: Job) -> tuple[str, Link]:
        """The recipe first: where a clip lies, what it was made from lies beside it."""
        content = self._files.folder(job.id) / str(job.content_name)
        if not content.is_file():
            raise FileNotFoundError("the clip's file is gone")
        name = clip_names.name(job, self._settings.results_name)
        self._store.write(_recipe(job), f"{name}.json")
        address = self._store.put(content, f"{name}.mp4")
        return address, self._sign(address)

    async def _fail(self, job: Job, attempt: int, error: Exception) -> None:
        said = _without_secrets(error, os.environ)
        if said != self.failure:
            log.warning("clips cannot be copied to %s: %s", self._store.address, said)
        self.failure = said
        grown = min(FIRST_PAUSE_SECONDS * 2.0 ** min(attempt - 1, 20), LONGEST_PAUSE_SECONDS)
        pause = grown * random.uniform(0.8, 1.2)  # noqa: S311 - spreads the load
        state = {"state": "failing", "attempts": attempt, "last_error": said}
        await self._ask(lambda queue: queue.copies.retry(job.id, state, pause_seconds=pause))
        self._notifier.notify(job.id)

    # -- links ---------------------------------------------------------------------------------------

    async def signed(self, job: Job) -> Job:
        """The job with a link that holds for half of its time at least, where its store gives links."""
        state = job.copy_state or {}
        expires_at = state.get("expires_at")
        half = self._settings.results_link_hours * 3600 / 2
        if job.copied_to is None or expires_at is None or expires_at - time.time() > half:
            return job
        address = job.copied_to
        try:
            link = await run_in_threadpool(self._sign, address)
        except Exception as error:  # whatever a storage's library raises
            log.warning("no link to a copy: %s", _without_secrets(error, os.environ))
            return job
        state = {**state, **vars(link)}
        await self._ask(lambda queue: queue.copies.sign(job.id, state))
        return replace(job, copy_state=state)

    def _sign(self, address: str) -> Link:
        seconds = int(self._settings.results_link_hours * 3600)
        url = self._store.sign(address, seconds) if seconds else None
        return Link(url, time.time() + seconds if url else None)


def _without_secrets(error: Exception, env: Mapping[str, str]) -> str:
    """The kind of the error, and its first line: a library may put a whole request into the rest."""
    text = re.sub(r"(https?://[^\s?'\"]*)\?[^\s'\"]*", r"\1?…", (str(error).splitlines() or [""])[0])
    for name, value in env.items():
        if len(value) >= 4 and name.upper().endswith(("KEY", "KEY_ID", "TOKEN", "SECRET", "PASSWORD")):
            text = text.replace(value, "…")
    return f"{type(error).__name__}: {text[:200]}"


def _recipe(job: Job) -> bytes:
    """What the clip was made from, and what was measured of it."""
    made = {"id": job.id, "model": job.model, "prompt": job.prompt, "parameters": job.values}
    times = {"created_at": job.created_at, "started_at": job.started_at, "completed_at": job.completed_at}
    source = {"user": job.owner, "remixed_from": job.remixed_from, "warnings": job.warnings}
    times |= {"gpu_seconds": job.gpu_seconds, "dollars": job.dollars}
    return json.dumps(made | times | source | {"metadata": job.metadata}, indent=2).encode()
