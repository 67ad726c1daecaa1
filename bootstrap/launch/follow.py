"""Following the front, which knows the workers: ready, failed, idle; and what the terminal shows of it."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Coroutine
from typing import Any

from bootstrap import data_directory, platforms
from bootstrap.errors import KitError
from bootstrap.launch import history
from bootstrap.launch.address import Address
from bootstrap.launch.document import STATES, BootDocument
from bootstrap.launch.front_client import FrontClient, Status
from bootstrap.launch.idle import Idle
from bootstrap.launch.listener import Bound
from bootstrap.launch.location import Location
from bootstrap.settings import Settings
from bootstrap.terminal import Terminal

log = logging.getLogger("kinokit.agent")

SHOW_SECONDS = 0.2  # the document and the terminal, while something is under way
ASK_SECONDS = 0.3  # the front, while something is under way
CALM_SECONDS = 10.0  # both, once it is ready or has failed: what changes then is no hurry
STOP_AGAIN_SECONDS = 600.0  # a box that could not stop itself tries again
BOOTING = frozenset({"starting", *STATES.values()})


class Follower:
    """Trusts the front's answer about the state, and writes into the boot document what follows from it."""

    def __init__(
        self,
        settings: Settings,
        here: Location,
        address: Address,
        document: BootDocument,
        terminal: Terminal,
        *,
        started_at: float,
        bound: Bound,
        record: Callable[[], None],
        end: Callable[[], None],
    ) -> None:
        """``record`` writes ``agent.json`` anew; ``end`` ends the run, when nobody used it for long."""
        assert settings.data_dir is not None, "settled"
        self._settings = settings
        self._location = here
        self._data_dir = settings.data_dir
        self._address = address
        self._document = document
        self._terminal = terminal
        self._started_at = started_at
        self._bound = bound
        self._record = record
        self._end = end
        self._front = FrontClient(address.local_url, address.token if address.asks_for_token else None)
        minutes = settings.idle_stop_minutes
        self._idle = Idle(minutes * 60 if minutes else None)
        hours = settings.stop_after_hours
        self._stop_at = time.monotonic() + hours * 3600 if hours else float("inf")
        self._calm_seconds = min(CALM_SECONDS, minutes * 60 / 4) if minutes else CALM_SECONDS
        self._state = ""
        self._is_warned = False
        self._said_question = ""
        self._said_end = ""  # the reason for an end that did not come yet

    def tasks(self) -> list[Coroutine[Any, Any, None]]:
        """What runs until the end: what is shown does not wait for the front's answer."""
        return [self._follow(), self._show()]

    async def _follow(self) -> None:
        """The front's first answer, then the workers' own progress, then ready; and failures after that."""
        await self._front.answers()
        self._greet()
        while True:
            status = await self._front.status()
            if status is not None:
                self._see(status)
            self._state = status.state if status else ""
            self._document.flush()
            if self._idle.is_over():
                self._idle.stay_awake()  # the next try, if this one fails, is as far away
                await self._stop(f"idle for {self._settings.idle_stop_minutes:g} minutes")
            if time.monotonic() >= self._stop_at:
                self._stop_at = time.monotonic() + STOP_AGAIN_SECONDS
                await self._stop(f"{self._settings.stop_after_hours:g} hours are over")
            await asyncio.sleep(self._pause(ASK_SECONDS))

    async def _show(self) -> None:
        while True:
            self._learn_address()
            self._say_what_is_asked()
            self._document.flush()
            self._terminal.show(self._document.snapshot())
            await asyncio.sleep(self._pause(SHOW_SECONDS))

    def _say_what_is_asked(self) -> None:
        """Once: who looks at the terminal alone must know that the page takes an answer."""
        asks = self._document.asks
        problem = asks["problem"] if asks else ""
        if asks and problem != self._said_question:
            self._terminal.say(f"{problem}\n  fix: type the token at {self._shown_url()}, or {asks['fix']}")
            cost = self._settings.hourly_cost
            if cost:
                self._terminal.say(f"until then this box costs {cost:.2f} USD an hour")
        self._said_question = problem

    def _pause(self, seconds: float) -> float:
        """``seconds`` while something is under way, or the front does not answer."""
        calm = min(self._calm_seconds, max(self._stop_at - time.monotonic(), 0.1))
        return seconds if self._state in BOOTING or not self._state else calm

    def _greet(self) -> None:
        self._document.timeline.end("front")
        seconds = time.time() - self._started_at
        by_agent, by_command = self._bound.at - self._bound.started_at, self._bound.at - self._started_at
        log.info(
            "port bound %.2f s after the agent's start, %.2f s after the command's; answered after %.2f s",
            *(by_agent, by_command, seconds),
        )
        took = f"port bound after {by_command:.2f} s, page after {seconds:.2f} s"
        self._terminal.say(f"kinokit answers at {self._shown_url()}  ({took})")
        if self._address.fingerprint:
            self._terminal.say(f"its certificate has the SHA-256 fingerprint {self._address.fingerprint}")

    # -- what the front says -----------------------------------------------------------------------

    def _see(self, status: Status) -> None:
        self._add_spans(status)
        if status.state == "ready" and self._state != "ready":
            self._ready(status)
        elif status.state in ("loading", "launching") and status.load:
            self._document.advance("load", **status.load)
        elif status.state == "failed" and self._state != "failed":
            self._failed(status)
        if status.queue is not None:
            self._idle.see(status.queue)
        self._idle.see_use(status.unused_seconds)
        if status.state in BOOTING and self._document.asks is None:
            self._idle.stay_awake()
        self._warn_of_the_end()

    def _add_spans(self, status: Status) -> None:
        """The workers' part of the timeline: imports, files loaded, the first clip."""
        timeline = self._document.timeline
        new = False
        for worker in status.workers:
            new |= timeline.add_spans(worker["worker"], (worker.get("timings") or {}).get("spans", []))
        if new:
            self._document.touch()
            if timeline.has("ready"):
                history.keep(self._data_dir, self._document.snapshot())

    def _ready(self, status: Status) -> None:
        self._document.timeline.mark("ready")
        self._document.set(failure=None, state="ready")
        self._document.advance("load", **status.load)
        self._document.end("load", status.load.get("detail"))
        seconds = time.time() - self._started_at
        self._terminal.show(self._document.snapshot())
        history.keep(self._data_dir, self._document.snapshot())
        log.info("ready after %.1f s", seconds)
        self._terminal.say(f"ready after {seconds:.1f} s: {self._shown_url()}")

    def _failed(self, status: Status) -> None:
        """The workers' failure or the queue's; the boot has written and shown its own."""
        failure = status.failure
        if failure is None or self._document.snapshot()["failure"] is not None:
            return
        error = KitError(failure["problem"], fix=failure["fix"])
        self._document.fail("load", error)
        self._terminal.say(f"error: {error}")

    def _warn_of_the_end(self) -> None:
        """Minutes before the idle stop: on the page, where a click puts it off, and in the log."""
        if self._idle.warns() == self._is_warned:
            return
        self._is_warned, left = self._idle.warns(), self._idle.left_seconds()
        self._document.set(idle_stop_at=time.time() + left if self._is_warned and left is not None else None)
        if self._is_warned and left is not None:
            self._terminal.say(
                f"nobody uses this box: it stops in {left / 60:.1f} minutes unless somebody does"
            )

    async def _stop(self, reason: str) -> None:
        """End the rent where the box may; end the service where nothing is rented; else say once who must."""
        stop = self._location.platform.stop(os.environ)
        if reason != self._said_end:
            self._said_end = reason
            self._terminal.say(f"{reason}: {stop.description}")
            if self._location.platform.IS_RENTED and stop.request is None:
                self._terminal.say("this box cannot stop itself and goes on costing money: stop it yourself")
        log.warning("%s: %s", reason, stop.description)
        if not self._location.platform.IS_RENTED:
            self._end()
        elif not await asyncio.to_thread(platforms.stop_box, stop, os.environ):
            log.warning("the box could not stop itself")

    # -- the address -------------------------------------------------------------------------------

    def _shown_url(self) -> str:
        return self._address.shown(to_log=self._terminal.is_log)

    def _learn_address(self) -> None:
        """The front learns its public address from the first visit where the platform tells it nowhere."""
        file = self._data_dir / data_directory.PUBLIC_URL
        if self._location.public_url is not None or not file.exists():
            return
        url = file.read_text()
        if url != self._address.url:
            self._address.url = url
            self._document.set(url=url)
            self._record()
            self._terminal.say(f"kinokit is reached at {self._shown_url()}")
