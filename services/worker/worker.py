"""The worker: owns the lease and the heartbeat, and a GPU child that does the work. No torch here.

python -m services.worker.worker --plan plan.json --queue URL --token-file FILE --name NAME
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import shutil
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from bootstrap.choose.plan import Plan
from bootstrap.errors import KitError
from services.queue.job import MAX_ATTEMPTS, WORKER_LOST
from services.worker.gpu_process import ChildProcess, Died
from services.worker.queue_client import Claimed, Lost, RemoteQueue

log = logging.getLogger("kinokit.worker")

BEAT_SECONDS = 5.0
NEWS_SECONDS = 1.0  # progress is told this often when there is any
CANCEL_SECONDS = 4.0  # a child that does not stop by then is killed
PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)  # before a child is started again, by deaths in a row
HOPELESS_DEATHS = 4  # in a row while loading: told as failed, and tried once a minute
RETRY_SECONDS = 60.0
FIRST_CLIP = "first clip"


class Worker:
    """One group of GPUs: one job at a time."""

    def __init__(self, plan_path: Path, queue: RemoteQueue, name: str, engine: str | None = None) -> None:
        self._plan_path = plan_path
        self._plan = Plan.read(plan_path)
        self._queue = queue
        self._engine = engine
        self._scratch = self._plan.data_dir / "cache" / "scratch" / name
        self._state: dict[str, Any] = {"state": "loading", "profile": self._plan.profile}
        self._news = asyncio.Event()
        self._stop = asyncio.Event()
        self._deaths = 0

    def stop(self) -> None:
        self._stop.set()

    async def run(self) -> None:
        shutil.rmtree(self._scratch, ignore_errors=True)  # of a run that was killed
        self._scratch.mkdir(parents=True)
        telling = asyncio.create_task(self._tell())
        telling.add_done_callback(lambda _: self.stop())  # a worker that nobody hears of must not go on
        try:
            while not self._stop.is_set():
                await self._one_child()
        finally:
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)
            await self._queue.close()
            shutil.rmtree(self._scratch, ignore_errors=True)

    # -- the child's life --------------------------------------------------------------------------

    async def _one_child(self) -> None:
        """From its start to its end, and the pause after a bad one."""
        if self._state["state"] != "failed":
            self._is("loading", detail="starting")
        child = await ChildProcess.start(self._plan_path, engine=self._engine)
        pause: float | None = None
        try:
            if not await self._load(child):
                pause = RETRY_SECONDS
            else:
                await self._serve(child)
        except Died as died:
            self._deaths += 1
            pause = PAUSES[min(self._deaths, len(PAUSES)) - 1]
            log.warning("the GPU child %s (%d in a row)", died, self._deaths)
            if self._deaths >= HOPELESS_DEATHS:
                pause = RETRY_SECONDS
                problem = f"the GPU process died {self._deaths} times in a row; the last one was {died}"
                self._is("failed", failure={"problem": problem, "fix": "read `kinokit logs --worker`"})
        finally:
            if self._stop.is_set():
                child.kill()  # its job was given back; a model that is just being loaded is not waited for
            await child.close()
        if pause is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), pause)

    async def _load(self, child: ChildProcess) -> bool:
        """False when the model cannot be loaded. Raises ``Died``."""
        while True:
            event = await self._unless_stopped(child.hear())
            if event is None:
                return True
            match event["event"]:
                case "loading" if self._state["state"] != "failed":
                    timings = event.get("timings", {})
                    self._is("loading", detail=event["detail"], progress=event["progress"], timings=timings)
                case "ready":
                    log.info("%s", event["detail"])
                    self._is("ready", detail=event["detail"], timings=event["timings"])
                    return True
                case "failed":
                    log.error("%s (%s)", event["problem"], event["fix"])
                    self._is("failed", failure={"problem": event["problem"], "fix": event["fix"]})
                    return False

    async def _serve(self, child: ChildProcess) -> None:
        """Jobs until the worker is to stop. Raises ``Died``."""
        while not self._stop.is_set():
            job = await self._next(child)
            if job is None:
                continue
            log.info("job %s, attempt %d", job.id, job.attempt)
            started = time.monotonic()
            with suppress(Lost):
                await self._work(job, child)
            log.info("job %s left after %.1f s", job.id, time.monotonic() - started)

    async def _next(self, child: ChildProcess) -> Claimed | None:
        """The next job. A child that dies meanwhile is noticed at once."""
        claim = asyncio.create_task(self._queue.claim())
        listen = asyncio.create_task(child.hear())
        try:
            await self._unless_stopped(_first(claim, listen))
            if listen.done():
                listen.result()
            return claim.result() if claim.done() else None
        finally:
            for task in (claim, listen):
                task.cancel()
            await asyncio.gather(claim, listen, return_exceptions=True)

    # -- one job -----------------------------------------------------------------------------------

    async def _work(self, job: Claimed, child: ChildProcess) -> None:
        """Make the clip and hand it in. Raises ``Lost`` or ``Died``."""
        folder = self._scratch / f"{job.id}-{job.token}"
        folder.mkdir()
        attempt = Attempt(job, self._queue, child, folder)
        beating = asyncio.create_task(attempt.beat())
        making = asyncio.create_task(attempt.make())
        try:
            if not await self._until_made(making, beating):
                await self._give_back(job, child)
                return
            event = making.result()
            if event["event"] == "done":
                self._deaths = 0
                self._first_clip(attempt.started_at)
                await self._queue.write_content(job, attempt.clip)
            await self._finish(job, event)
        except Died as died:
            await self._after_death(job, attempt, died)
            raise
        finally:
            for task in (beating, making):
                task.cancel()
            await asyncio.gather(beating, making, return_exceptions=True)
            shutil.rmtree(folder, ignore_errors=True)

    async def _until_made(self, making: asyncio.Task[dict[str, Any]], beating: asyncio.Task[None]) -> bool:
        """False when the worker is told to stop first; a lost lease ends the work."""
        await self._unless_stopped(_first(making, beating))
        if making.done():
            return True
        if beating.done():
            beating.result()
        return False

    async def _finish(self, job: Claimed, event: dict[str, Any]) -> None:
        match event["event"]:
            case "done":
                await self._queue.finish(job, "completed", metadata=event["metadata"])
            case "cancelled":
                await self._queue.finish(job, "cancelled", metadata={})
            case _:
                error = {"code": event["code"], "message": event["message"]}
                await self._queue.finish(job, "failed", error=error, metadata=event["metadata"])

    async def _give_back(self, job: Claimed, child: ChildProcess) -> None:
        """The worker is to stop: the job goes back first, so that its place in the queue is kept."""
        log.info("job %s goes back into the queue", job.id)
        child.kill()
        with suppress(Lost, TimeoutError):
            await asyncio.wait_for(self._queue.release(job), 3)

    async def _after_death(self, job: Claimed, attempt: Attempt, died: Died) -> None:
        """A killed job that was cancelled has ended; one that killed its last child too has failed.

        Else nothing is said: the next claim takes the job back, and this attempt counts.
        """
        with suppress(Lost):
            if attempt.cancelled:
                await self._queue.finish(job, "cancelled", metadata={})
            elif job.attempt >= MAX_ATTEMPTS:
                message = f"the GPU process {died}, {job.attempt} times while making this clip"
                error = {"code": WORKER_LOST, "message": message}
                await self._queue.finish(job, "failed", error=error, metadata={})

    # -- what others are told ----------------------------------------------------------------------

    def _first_clip(self, started_at: float) -> None:
        """Added to the spans of this child's start, once."""
        timings = self._state.get("timings") or {}
        known = timings.get("spans", [])
        if not any(each["name"] == FIRST_CLIP for each in known):
            first = {"name": FIRST_CLIP, "started_at": started_at, "ended_at": time.time()}
            self._state = {**self._state, "timings": {**timings, "spans": [*known, first]}}
            self._news.set()

    def _is(self, state: str, **values: Any) -> None:
        self._state = {"state": state, "profile": self._plan.profile, **values}
        self._news.set()

    async def _tell(self) -> None:
        """The state, when it changes and every few seconds: it is the worker's own heartbeat."""
        while True:
            self._news.clear()
            await self._queue.tell_state(self._state)
            await asyncio.sleep(0.1)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), BEAT_SECONDS)

    async def _unless_stopped(self, work: Any) -> Any:
        """What ``work`` gives, or None when the worker is told to stop first."""
        working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
            return working.result() if working.done() else None
        finally:
            stopping.cancel()
            if not working.done():
                working.cancel()


class Attempt:
    """One attempt at one job: what the child says, and what the queue is told of it."""

    def __init__(self, job: Claimed, queue: RemoteQueue, child: ChildProcess, folder: Path) -> None:
        self._job = job
        self._queue = queue
        self._child = child
        self._folder = folder
        self._progress: dict[str, Any] = {}
        self._news = asyncio.Event()
        self.started_at = time.time()
        self.clip = folder / "clip.mp4"
        self.cancelled = False
        self._made = False  # the child is done with it; what is left is to hand it in

    async def make(self) -> dict[str, Any]:
        """The child's last word on the job. Raises ``Died``."""
        image = None
        if self._job.has_input:
            image = str(self._folder / "input")
            await self._queue.read_input(self._job, Path(image))
        await self._child.tell(run={"values": self._job.values, "image": image, "path": str(self.clip)})
        while True:
            event = await self._child.hear()
            if event["event"] != "progress":
                self._made = True
                return event
            self._progress = {key: event[key] for key in ("progress", "stage", "eta_seconds")}
            self._news.set()

    async def beat(self) -> None:
        """Keep the lease while the job lasts. Raises ``Lost`` after the child was told to stop."""
        while True:
            self._news.clear()
            try:
                cancel = await self._queue.beat(self._job, self._progress)
            except Lost:
                await self._end_child()
                raise
            if cancel and not self.cancelled and not self._made:
                self.cancelled = True
                log.info("job %s is cancelled", self._job.id)
                await self._end_child()
            await asyncio.sleep(NEWS_SECONDS)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), BEAT_SECONDS - NEWS_SECONDS)

    async def _end_child(self) -> None:
        """Ask it to stop the job, then kill it; ``make`` ends this task as soon as the child has stopped."""
        if self._made:
            return
        await self._child.tell(cancel=True)
        await asyncio.sleep(CANCEL_SECONDS)
        if not self._made:
            log.warning("the GPU child did not stop in %g s: killed", CANCEL_SECONDS)
            self._child.kill()


async def _first(*tasks: asyncio.Task[Any]) -> None:
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)


async def _main(arguments: argparse.Namespace) -> None:
    queue = RemoteQueue(arguments.queue, arguments.token_file, arguments.name)
    worker = Worker(arguments.plan, queue, arguments.name, arguments.engine)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, worker.stop)
    await worker.run()


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m services.worker.worker")
    parser.add_argument("--plan", type=Path, required=True)
    parser.add_argument("--queue", required=True, help="the front's address")
    parser.add_argument("--token-file", type=Path, required=True)
    parser.add_argument("--name", required=True, help="this worker's own, in the whole fleet")
    parser.add_argument("--engine", help="a module like those in services.engines; else the plan's family")
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        asyncio.run(_main(arguments))
    except KitError as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
