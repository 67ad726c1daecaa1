"""One run of the kit, from the bound port to the end: its boot, its workers, and who follows the front."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from contextlib import suppress
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TextIO

from bootstrap import data_directory, logs, volume, web_address
from bootstrap.choose.plan import Plan
from bootstrap.errors import KitError
from bootstrap.launch import daemon_thread, history, location, steps
from bootstrap.launch.address import Address
from bootstrap.launch.document import BootDocument
from bootstrap.launch.follow import Follower
from bootstrap.launch.listener import Bound
from bootstrap.launch.processes import Processes, box_name
from bootstrap.launch.steps import BootFailed
from bootstrap.launch.timeline import PACKAGES, START
from bootstrap.platforms import Platform
from bootstrap.settings import Settings
from bootstrap.terminal import Terminal

log = logging.getLogger("kinokit.agent")
LOG_BYTES = 8 * 1024**2  # of agent.log, and of the one before it


class Run:
    """Starts the boot, its workers and the follower of the front; ends all of them."""

    def __init__(self, settings: Settings, *, processes: Processes, bound: Bound, out: TextIO) -> None:
        """``settings`` are settled: the data directory and whether a token is asked for are known."""
        assert settings.data_dir is not None, "settled"
        self._settings = settings
        self._data_dir = settings.data_dir
        self._processes = processes
        self._bound = bound
        self._started_at = _started_at()
        self._terminal = Terminal(out)
        self._location = location.of(settings, os.environ)
        self._address = Address.of(settings, self._location)
        self._document = self._new_document()
        self._stop = asyncio.Event()
        self._exit_code = 0
        self._workers = 0
        self._has_failed = False

    async def run(self) -> int:
        """Until a signal, or a failure that leaves nothing to show; the exit code."""
        _log_to(self._data_dir / "logs/agent.log", self._settings.log_format)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, self._stop.set)
        self._document.flush(now=True)
        self._record()
        self._begin_timeline()
        tasks = [
            asyncio.create_task(work)
            for work in (
                self._boot(),
                self._report_deaths(),
                self._say_that_it_runs(),
                *self._follower().tasks(),
            )
        ]
        with suppress(asyncio.CancelledError):  # a Ctrl-C from before the handlers stood
            await self._stop.wait()
        for task in tasks:
            task.cancel()
        await self._end()
        return self._exit_code

    # -- how it begins -----------------------------------------------------------------------------

    def _new_document(self) -> BootDocument:
        return BootDocument(
            self._data_dir / data_directory.BOOT,
            model=web_address.shown(self._settings.model),
            title=web_address.shown(self._settings.model),
            service=self._settings.service,
            platform=self._location.platform.NAME,
            url=self._address.url,
            idle_stop_minutes=self._settings.idle_stop_minutes,
            hourly_cost=self._settings.hourly_cost,
            access=self._location.access(),
        )

    def _begin_timeline(self) -> None:
        timeline = self._document.timeline
        timeline.begin("port", at=self._started_at)
        timeline.end("port", at=self._bound.at)
        timeline.begin("front", at=self._bound.at, waited_for="port")

    def _follower(self) -> Follower:
        return Follower(
            self._settings,
            self._location,
            self._address,
            self._document,
            self._terminal,
            started_at=self._started_at,
            bound=self._bound,
            record=self._record,
            end=self._stop.set,
        )

    def _record(self) -> None:
        data_directory.write_record(
            self._data_dir,
            pid=os.getpid(),
            host=self._settings.host,
            port=self._settings.port,
            url=self._address.url,
            local_url=self._address.local_url,
            model=web_address.shown(self._settings.model),
            service=self._settings.service,
            platform=self._location.platform.NAME,
            auth=self._address.asks_for_token,
            fingerprint=self._address.fingerprint,
            token_file=str(self._data_dir / data_directory.TOKEN),
            started_at=self._started_at,
        )

    # -- the boot ----------------------------------------------------------------------------------

    async def _boot(self) -> None:
        loop = asyncio.get_running_loop()

        def decided(plan: Plan) -> None:
            with suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(self._start_workers, plan)

        def work() -> Plan:
            return steps.run(self._settings, self._data_dir, os.environ, self._document, decided)

        try:
            plan = await daemon_thread.run(work, name="boot")
        except BootFailed as failed:
            await self._boot_failed(failed)
            return
        except Exception as error:
            log.exception("the boot failed")
            await self._boot_failed(self._bug(error))
            return
        plan.write(self._data_dir / data_directory.PLAN)
        self._document.begin("launch")
        if without_bridge := self._processes.start_bridge(self._address.local_url):
            log.error("%s", without_bridge)
            self._terminal.say(f"error: {without_bridge}")
        workers = f"{self._workers} worker{'s' if self._workers > 1 else ''}"
        self._document.end("launch", f"{workers}, {plan.threads} threads each")
        self._document.begin("load")

    def _bug(self, error: Exception) -> BootFailed:
        problem = KitError(
            f"the boot failed with a bug of the kit: {type(error).__name__}: {error}",
            fix="the traceback is in logs/agent.log; please report it",
        )
        phases = self._document.snapshot()["phases"]
        return BootFailed(next((p["name"] for p in phases if p["state"] == "running"), "detect"), problem)

    def _start_workers(self, plan: Plan) -> None:
        """While the weights still arrive: imports and the GPU's start take as long as a good part of them."""
        if self._has_failed or self._stop.is_set():
            return
        plan.write(self._data_dir / data_directory.DRAFT)
        timeline = self._document.timeline
        waited_for = "packages" if timeline.has("packages", PACKAGES) else "choose"
        self._workers = self._processes.start_workers(
            plan,
            queue_url=self._settings.queue_url or self._address.local_url,
            token_file=self._settings.worker_token_file or self._data_dir / data_directory.WORKER_TOKEN,
            hourly_cost=self._settings.hourly_cost,
            log_format=self._settings.log_format,
        )
        for number in range(self._workers):
            timeline.begin(START, f"{box_name(self._data_dir)}-{number}", waited_for=waited_for)

    async def _boot_failed(self, failed: BootFailed) -> None:
        """On one's own machine a choice that cannot be ends it; a rented box goes on to show its page."""
        self._has_failed = True
        page_is_all = only_the_page_is_seen(self._location.platform, os.getppid())
        ends = failed.phase in ("detect", "choose") and not page_is_all
        self._document.fail(failed.phase, failed, ends=ends)
        self._document.timeline.close()
        history.keep(self._data_dir, self._document.snapshot())
        log.error("the boot failed in %s: %s", failed.phase, failed)
        self._terminal.say(f"error: {failed}")
        if ends:
            self._exit_code = failed.exit_code
            self._stop.set()
            return
        cost = self._settings.hourly_cost
        costs = f" (it costs {cost:.2f} USD an hour while it waits)" if cost else ""
        shown = self._address.shown(to_log=self._terminal.is_log)
        self._terminal.say(f"the page with this error stays at {shown}{costs}")
        self._terminal.say("end it with Ctrl-C, or `kinokit down`")
        await self._processes.end_workers()  # they wait for weights that do not come

    async def _report_deaths(self) -> None:
        """Of the processes, as they come; a failure when no worker is left to try."""
        while True:
            death = await self._processes.deaths.get()
            again = "not started again" if death.gave_up else f"started again in {death.pause_seconds:g} s"
            log.warning("%s %s; %s", death.name, death.reason, again)
            self._terminal.say(f"{death.name} {death.reason}; {again}")
            failure = self._processes.no_worker_left(death)
            if failure is not None:
                self._document.fail("load", failure)

    async def _say_that_it_runs(self) -> None:
        """To other boxes on this volume; a short-lived one deletes what those before it have left."""
        short_lived = self._location.platform.IS_SHORT_LIVED
        if short_lived:
            swept = await daemon_thread.run(lambda: volume.sweep(self._data_dir), name="sweep")
            log.info("deleted what %d earlier workers have left", len(swept))
        while True:
            await daemon_thread.run(lambda: volume.beat(self._data_dir, short_lived=short_lived), name="beat")
            await asyncio.sleep(volume.BEAT_SECONDS)

    # -- the end -----------------------------------------------------------------------------------

    async def _end(self) -> None:
        if self._exit_code == 0:
            self._terminal.say("stopping")
            self._document.set(state="stopping")
            self._document.flush(now=True)
        await self._processes.end()
        self._document.timeline.close()
        history.keep(self._data_dir, self._document.snapshot())
        for told in (data_directory.RECORD, volume.ALIVE):
            (self._data_dir / told).unlink(missing_ok=True)
        self._document.close()
        log.info("ended")


def only_the_page_is_seen(platform: Platform, parent_pid: int) -> bool:
    """On a marketplace, and where the kit is a container's own command: nobody looks at a terminal."""
    return platform.IS_RENTED or (platform.NAME == "docker" and parent_pid <= 1)


def _started_at() -> float:
    """When this process began, the command's own start included."""
    import psutil  # not before the port is bound

    return float(psutil.Process().create_time())


def _log_to(path: Path, form: logs.Form) -> None:
    handler = RotatingFileHandler(path, maxBytes=LOG_BYTES, backupCount=1)
    handler.setFormatter(logs.formatter(form))
    logging.getLogger().addHandler(handler)
    logging.getLogger().setLevel(logging.INFO)
    logging.getLogger("httpx").setLevel(logging.WARNING)
