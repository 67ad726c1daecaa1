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
from services.worker.attempt import BEAT_SECONDS, Attempt
from services.worker.gpu_process import Died
from services.worker.protocol import (
    Claimed,
    Done,
    LoadFailed,
    Loading,
    Outcome,
    Problem,
    Ready,
    Span,
    WorkerReport,
)
from services.worker.queue_client import LeaseLost, RemoteQueue
from services.worker.ranks import Group

log = logging.getLogger("kinokit.worker")

PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)  # before a child is started again, by deaths in a row
MANY_DEATHS = 4  # in a row while loading: reported as failed, and tried once a minute
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
        self._report = WorkerReport(state="loading", profile=self._plan.profile, plan=self._plan)
        self._changed = asyncio.Event()
        self._stop = asyncio.Event()
        self._deaths = 0

    def stop(self) -> None:
        self._stop.set()

    async def run(self) -> None:
        shutil.rmtree(self._scratch, ignore_errors=True)  # of a run that was killed
        self._scratch.mkdir(parents=True)
        reporting = asyncio.create_task(self._keep_reporting())
        reporting.add_done_callback(lambda _: self.stop())  # a worker that cannot report must not go on
        try:
            while not self._stop.is_set():
                await self._one_child()
        finally:
            reporting.cancel()
            await asyncio.gather(reporting, return_exceptions=True)
            await self._queue.close()
            shutil.rmtree(self._scratch, ignore_errors=True)

    # -- the child's life --------------------------------------------------------------------------

    async def _one_child(self) -> None:
        """From its start to its end, and the pause after a bad one."""
        if self._report.state != "failed":
            self._change(WorkerReport(state="loading", detail="starting"))
        child = await Group.start(self._plan_path, engine=self._engine)
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
            if self._deaths >= MANY_DEATHS:
                pause = RETRY_SECONDS
                problem = f"the GPU process died {self._deaths} times in a row; the last one was {died}"
                self._fail(problem, fix="read `kinokit logs --worker`")
        finally:
            if self._stop.is_set():
                child.kill()  # its job was given back; a model that is just being loaded is not waited for
            await child.close()
        if pause is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), pause)

    async def _load(self, child: Group) -> bool:
        """False when the model cannot be loaded. Raises ``Died``."""
        while True:
            event = await self._unless_stopped(child.receive())
            match event:
                case None:
                    return True
                case Loading() if self._report.state != "failed":
                    self._change(WorkerReport(state="loading", **event.model_dump(exclude={"kind"})))
                case Ready(detail=detail, timings=timings):
                    log.info("%s", detail)
                    self._change(WorkerReport(state="ready", detail=detail, timings=timings))
                    return True
                case LoadFailed(problem=problem, fix=fix):
                    log.error("%s (%s)", problem, fix)
                    self._fail(problem, fix=fix)
                    return False

    async def _serve(self, child: Group) -> None:
        """Jobs until the worker is to stop. Raises ``Died``."""
        while not self._stop.is_set():
            job = await self._next(child)
            if job is None:
                continue
            log.info("job %s, attempt %d", job.id, job.attempt)
            started = time.monotonic()
            with suppress(LeaseLost):
                await self._work(job, child)
            log.info("job %s left after %.1f s", job.id, time.monotonic() - started)

    async def _next(self, child: Group) -> Claimed | None:
        """The next job. A child that dies meanwhile is noticed at once."""
        claim = asyncio.create_task(self._queue.claim(self._plan))
        listen = asyncio.create_task(child.receive())
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

    async def _work(self, job: Claimed, child: Group) -> None:
        """Make the clip and hand it in. Raises ``LeaseLost`` or ``Died``."""
        folder = self._scratch / f"{job.id}-{job.token}"
        folder.mkdir()
        attempt = Attempt(job, self._queue, child, folder)
        beating = asyncio.create_task(attempt.beat())
        making = asyncio.create_task(attempt.make())
        try:
            if not await self._until_made(making, beating):
                await self._give_back(job, child)
                return
            outcome = making.result()
            if isinstance(outcome, Done):
                self._deaths = 0
                self._first_clip(attempt.started_at)
            await attempt.finish(outcome)
        except Died as died:
            await attempt.finish_dead(died)
            raise
        finally:
            for task in (beating, making):
                task.cancel()
            await asyncio.gather(beating, making, return_exceptions=True)
            shutil.rmtree(folder, ignore_errors=True)

    async def _until_made(self, making: asyncio.Task[Outcome], beating: asyncio.Task[None]) -> bool:
        """False when the worker has to stop first; a lost lease ends the work."""
        await self._unless_stopped(_first(making, beating))
        if making.done():
            return True
        if beating.done():
            beating.result()
        return False

    async def _give_back(self, job: Claimed, child: Group) -> None:
        """The worker is to stop: the job goes back first, so that its place in the queue is kept."""
        log.info("job %s goes back into the queue", job.id)
        child.kill()
        with suppress(LeaseLost, TimeoutError):
            await asyncio.wait_for(self._queue.release(job), 3)

    # -- reports -----------------------------------------------------------------------------------

    def _first_clip(self, started_at: float) -> None:
        """Added to the spans of this child's start, once."""
        timings = self._report.timings
        if not any(span.name == FIRST_CLIP for span in timings.spans):
            first = Span(name=FIRST_CLIP, started_at=started_at, ended_at=time.time())
            timings = timings.model_copy(update={"spans": (*timings.spans, first)})
            self._change(self._report.model_copy(update={"timings": timings}))

    def _fail(self, problem: str, *, fix: str) -> None:
        self._change(WorkerReport(state="failed", failure=Problem(problem=problem, fix=fix)))

    def _change(self, report: WorkerReport) -> None:
        self._report = report.model_copy(update={"profile": self._plan.profile, "plan": self._plan})
        self._changed.set()

    async def _keep_reporting(self) -> None:
        """When something changes and every few seconds: it is the worker's own heartbeat."""
        while True:
            self._changed.clear()
            await self._queue.report(self._report)
            await asyncio.sleep(0.1)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), BEAT_SECONDS)

    async def _unless_stopped(self, work: Any) -> Any:
        """What ``work`` gives, or None when the worker has to stop first."""
        working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
            return working.result() if working.done() else None
        finally:
            stopping.cancel()
            if not working.done():
                working.cancel()


async def _first(*tasks: asyncio.Task[Any]) -> None:
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)


async def _main(arguments: argparse.Namespace) -> None:
    queue = RemoteQueue(
        arguments.queue, arguments.token_file, arguments.name, hourly_cost=arguments.hourly_cost
    )
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
    parser.add_argument("--hourly-cost", type=float, help="dollars, of this worker's part of its box")
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
