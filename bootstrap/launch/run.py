"""One run of the kit: the front first, the boot beside it, and what a person is told about both."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, TextIO

from bootstrap import data_directory, platforms
from bootstrap.choose.plan import Plan
from bootstrap.errors import KitError
from bootstrap.launch import history, listener, location
from bootstrap.launch.document import BootDocument
from bootstrap.launch.front_client import Watch
from bootstrap.launch.idle import Idle
from bootstrap.launch.listener import Bound
from bootstrap.launch.processes import Processes, box_name
from bootstrap.launch.steps import Boot, BootFailed
from bootstrap.launch.timeline import PACKAGES, START
from bootstrap.settings import Settings
from bootstrap.terminal import Terminal

log = logging.getLogger("kinokit.agent")
LOG_BYTES = 8 * 1024**2  # of agent.log, and of the one before it

TICK_SECONDS = 0.2


class Service:
    """One run of the kit, from the bound port to the end."""

    def __init__(self, settings: Settings, *, processes: Processes, bound: Bound, out: TextIO) -> None:
        """``settings`` are settled: the data directory and whether a token is asked for are known."""
        assert settings.data_dir is not None, "settled"
        self._settings = settings
        self._data_dir = data_dir = settings.data_dir
        host, port = settings.host, settings.port
        self._started_at = _started_at()
        self._bound = bound
        self._host, self._port = host, port
        self._terminal = Terminal(out)
        self._site = location.of(self._settings, os.environ)
        self._page_is_all = only_the_page_is_seen(self._site.platform.NAME, os.getppid())
        self._local_url = listener.local_url(host, port)
        self._url = self._site.public_url or self._local_url
        if self._site.platform.NAME == "bare" and host not in listener.ANY:
            self._url = self._local_url
        wanted = self._settings.token
        self._token = data_directory.keep_token(
            data_dir / data_directory.TOKEN, wanted.get_secret_value() if wanted else None
        )
        self._auth = settings.auth == "on"
        self._document = BootDocument(
            data_dir / "boot.json",
            model=self._settings.model,
            title=self._settings.model,
            service=self._settings.service,
            platform=self._site.platform.NAME,
            url=self._url,
            hourly_cost=self._settings.hourly_cost,
            access=self._site.access(),
        )
        self._processes = processes
        processes.say = self._terminal.say
        processes.hopeless = lambda error: self._document.fail("load", error)
        self._stop = asyncio.Event()
        self._exit_code = 0
        self._workers = 0
        self._has_failed = False

    async def run(self) -> int:
        """Until a signal, or a failure that leaves nothing to show; the exit code."""
        _log_to(self._data_dir / "logs/agent.log")
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, self._stop.set)
        self._document.flush(now=True)
        self._record()
        timeline = self._document.timeline
        timeline.begin("port", at=self._started_at)
        timeline.end("port", at=self._bound.at)
        timeline.begin("front", at=self._bound.at, waited_for="port")
        watch = Watch(self._local_url, self._token if self._auth else None)
        tasks = [
            asyncio.create_task(self._tick()),
            asyncio.create_task(self._boot()),
            asyncio.create_task(self._follow(watch)),
        ]
        with suppress(asyncio.CancelledError):  # a Ctrl-C from before the handlers stood
            await self._stop.wait()
        for task in tasks:
            task.cancel()
        await self._end()
        return self._exit_code

    def _record(self) -> None:
        data_directory.write_record(
            self._data_dir,
            pid=os.getpid(),
            host=self._host,
            port=self._port,
            url=self._url,
            local_url=self._local_url,
            model=self._settings.model,
            service=self._settings.service,
            platform=self._site.platform.NAME,
            auth=self._auth,
            token_file=str(self._data_dir / data_directory.TOKEN),
            started_at=self._started_at,
        )

    # -- the boot ----------------------------------------------------------------------------------

    async def _boot(self) -> None:
        loop = asyncio.get_running_loop()

        def decided(plan: Plan) -> None:
            with suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(self._start_workers, plan)

        boot = Boot(self._settings, self._data_dir, os.environ, self._document, decided)
        try:
            plan = await _in_thread(boot.plan, name="boot")
        except BootFailed as failed:
            await self._boot_failed(failed)
            return
        except Exception as error:
            log.exception("the boot failed")
            problem = KitError(
                f"the boot failed with a bug of the kit: {type(error).__name__}: {error}",
                fix="the traceback is in logs/agent.log; please report it",
            )
            phase = next(
                (p["name"] for p in self._document.snapshot()["phases"] if p["state"] == "running"), "detect"
            )
            await self._boot_failed(BootFailed(phase, problem))
            return
        plan.write(self._data_dir / data_directory.PLAN)
        self._document.begin("launch")
        self._processes.start_bridge(self._local_url)
        workers = f"{self._workers} worker{'s' if self._workers > 1 else ''}"
        self._document.end("launch", f"{workers}, {plan.threads} threads each")
        self._document.begin("load")

    def _start_workers(self, plan: Plan) -> None:
        """While the weights still arrive: imports and the GPU's start take as long as a good part of them."""
        if self._has_failed or self._stop.is_set():
            return
        plan.write(self._data_dir / data_directory.DRAFT)
        timeline = self._document.timeline
        waited_for = "packages" if timeline.has("packages", PACKAGES) else "choose"
        self._workers = self._processes.start_workers(
            plan,
            queue_url=self._settings.queue_url or self._local_url,
            token_file=self._settings.worker_token_file or self._data_dir / data_directory.WORKER_TOKEN,
        )
        for number in range(self._workers):
            timeline.begin(START, f"{box_name(self._data_dir)}-{number}", waited_for=waited_for)

    async def _boot_failed(self, failed: BootFailed) -> None:
        """On one's own machine a choice that cannot be ends it; a rented box goes on to show its page."""
        self._has_failed = True
        ends = failed.phase in ("detect", "choose") and not self._page_is_all
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
        self._terminal.say(f"the page with this error stays at {self._shown_url()}{costs}")
        self._terminal.say("end it with Ctrl-C, or `kinokit down`")
        await self._processes.end_workers()  # they wait for weights that do not come

    async def _follow(self, watch: Watch) -> None:
        """The front's first answer, then the workers' own progress, then ready; and failures after that."""
        await watch.answers()
        self._document.timeline.end("front")
        seconds = time.time() - self._started_at
        by_agent, by_command = self._bound.at - self._bound.started_at, self._bound.at - self._started_at
        log.info(
            "port bound %.2f s after the agent's start, %.2f s after the command's; answered after %.2f s",
            *(by_agent, by_command, seconds),
        )
        took = f"port bound after {by_command:.2f} s, page after {seconds:.2f} s"
        self._terminal.say(f"kinokit answers at {self._shown_url()}  ({took})")
        said = ""
        minutes = self._settings.idle_stop_minutes
        idle = Idle(minutes * 60 if minutes else None)
        while True:
            state, load = await watch.state()
            self._hear_workers(watch.status)
            idle.see(watch.status)
            if state in ("starting", "detecting", "choosing", "fetching", "launching", "loading"):
                idle.stay_awake()
            if idle.is_over():
                idle.stay_awake()  # the next try, if this one fails, is as far away
                await self._stop_for_idleness()
            if state == "ready" and said != "ready":
                self._ready(load)
            elif state in ("loading", "launching") and load:
                self._document.advance("load", **load)
            elif state == "failed" and watch.failure and said != "failed" and not self._has_failed:
                self._document.fail("load", watch.failure)
                self._terminal.say(f"error: {watch.failure}")
            said = state
            await asyncio.sleep(2.0 if state == "ready" else 0.3)

    async def _stop_for_idleness(self) -> None:
        """End the rent where the box may; end the service where nothing is rented; else say who must."""
        minutes, stop = self._settings.idle_stop_minutes, self._site.platform.stop(os.environ)
        self._terminal.say(f"nothing to do for {minutes:g} minutes: {stop.description}")
        log.warning("idle for %g minutes: %s", minutes, stop.description)
        if self._site.platform.NAME in ("bare", "docker"):
            self._stop.set()
        elif not await asyncio.to_thread(platforms.stop_box, stop, os.environ):
            self._terminal.say("this box could not stop itself and goes on costing money: stop it yourself")

    def _hear_workers(self, status: Mapping[str, Any]) -> None:
        """Their part of the timeline: imports, files loaded, the first clip."""
        timeline = self._document.timeline
        new = False
        for worker in status.get("workers", []):
            new |= timeline.hear(worker["worker"], (worker.get("timings") or {}).get("spans", []))
        if new:
            self._document.touch()
            if timeline.has("ready"):
                history.keep(self._data_dir, self._document.snapshot())

    def _ready(self, load: Mapping[str, Any]) -> None:
        self._document.timeline.mark("ready")
        self._document.set(failure=None, state="ready")
        self._document.advance("load", **load)
        self._document.end("load", load.get("detail"))
        seconds = time.time() - self._started_at
        self._terminal.show(self._document.snapshot())
        history.keep(self._data_dir, self._document.snapshot())
        log.info("ready after %.1f s", seconds)
        self._terminal.say(f"ready after {seconds:.1f} s: {self._shown_url()}")

    def _shown_url(self) -> str:
        """With the token, for the one who started it; never in a log of ours."""
        quiet = self._terminal.is_log
        return f"{self._url}/?token={self._token}" if self._auth and not quiet else f"{self._url}/"

    async def _tick(self) -> None:
        while True:
            self._hear_address()
            self._document.flush()
            self._terminal.show(self._document.snapshot())
            await asyncio.sleep(TICK_SECONDS)

    def _hear_address(self) -> None:
        """The front learns its public address from the first visit where the platform tells it nowhere."""
        file = self._data_dir / data_directory.PUBLIC_URL
        if self._site.public_url is None and file.exists() and (url := file.read_text()) != self._url:
            self._url = url
            self._document.set(url=url)
            self._record()
            self._terminal.say(f"kinokit is reached at {self._shown_url()}")

    # -- the end -----------------------------------------------------------------------------------

    async def _end(self) -> None:
        if self._exit_code == 0:
            self._terminal.say("stopping")
            self._document.set(state="stopping")
            self._document.flush(now=True)
        await self._processes.end()
        self._document.timeline.close()
        history.keep(self._data_dir, self._document.snapshot())
        (self._data_dir / data_directory.RECORD).unlink(missing_ok=True)
        self._document.close()
        log.info("ended")


def only_the_page_is_seen(platform: str, parent_pid: int) -> bool:
    """On a marketplace, and where the kit is a container's own command: nobody looks at a terminal."""
    return platform not in ("bare", "docker") or (platform == "docker" and parent_pid <= 1)


async def _in_thread(work: Any, *, name: str) -> Any:
    """Run in a thread that does not hold up the end of the process, as an executor's would."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Any] = loop.create_future()

    def settle(method: Any, value: Any) -> None:
        if not done.done():
            method(value)

    def run() -> None:
        try:
            result = work()
        except BaseException as error:
            with suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(settle, done.set_exception, error)
        else:
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(settle, done.set_result, result)

    threading.Thread(target=run, name=name, daemon=True).start()
    return await done


def _started_at() -> float:
    """When this process began, the command's own start included."""
    import psutil  # not before the port is bound

    return float(psutil.Process().create_time())


def _log_to(path: Path) -> None:
    handler = RotatingFileHandler(path, maxBytes=LOG_BYTES, backupCount=1)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.getLogger().addHandler(handler)
    logging.getLogger().setLevel(logging.INFO)
    logging.getLogger("httpx").setLevel(logging.WARNING)
