"""The worker: owns the lease and the heartbeat, and a GPU child that does the work. No torch here.

python -m services.worker.worker --plan plan.json --queue URL --token-file FILE --name NAME
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import logging
import shutil
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from bootstrap import logs
from bootstrap.choose.plan import Plan
from bootstrap.errors import KitError
from services.worker.attempt import Attempt
from services.worker.gpu_process import Died
from services.worker.protocol import DISK_FULL, Claimed, Done, Failed, LoadFailed, Loading, Outcome, Ready
from services.worker.queue_client import LeaseLost, Refused, RemoteQueue
from services.worker.ranks import Group
from services.worker.reporting import Reporter

log = logging.getLogger("kinokit.worker")

PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)  # by failures in a row: deaths while loading, full disks
MANY_DEATHS = 4  # in a row while loading: reported as failed, and tried once a minute
RETRY_SECONDS = 60.0
FULL_DISK = (errno.ENOSPC, errno.EDQUOT)


class Worker:
    """One group of GPUs: one job at a time."""

    def __init__(self, plan_path: Path, queue: RemoteQueue, name: str, engine: str | None = None) -> None:
        self._plan_path = plan_path
        self._plan = Plan.read(plan_path)
        self._queue = queue
        self._engine = engine
        self._scratch = self._plan.data_dir / "cache" / "scratch" / name
        self._report = Reporter(self._plan, queue)
        self._stop = asyncio.Event()
        self._deaths = 0  # in a row, while loading
        self._full_disks = 0  # in a row

    def stop(self) -> None:
        self._stop.set()

    async def run(self) -> None:
        shutil.rmtree(self._scratch, ignore_errors=True)  # of a run that was killed
        self._scratch.mkdir(parents=True)
        reporting = asyncio.create_task(self._report.keep())
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
        """From its start to its end, and the pause after one that did not load."""
        self._report.starting()
        child = await Group.start(self._plan_path, engine=self._engine)
        pause: float | None = None
        try:
            if await self._load(child):
                await self._serve(child)
            else:
                pause = RETRY_SECONDS
        except Died as died:
            pause = self._pause_after(died, has_loaded=child.has_loaded)
        finally:
            if self._stop.is_set():
                child.kill()  # its job was given back; a model that is just being loaded is not waited for
            await child.close()
        await self._rest(pause)

    def _pause_after(self, died: Died, *, has_loaded: bool) -> float | None:
        """A child that had loaded well is followed at once: what killed it was its job, or somebody."""
        if has_loaded:
            log.warning("the GPU child %s", died)
            return None
        self._deaths += 1
        self._report.does_not_load()
        log.warning("the GPU child %s while it loaded (%d in a row)", died, self._deaths)
        if self._deaths < MANY_DEATHS:
            return PAUSES[self._deaths - 1]
        problem = f"the GPU process died {self._deaths} times in a row; the last one was {died}"
        self._report.failed(LoadFailed(problem=problem, fix="read `kinokit logs --worker`"))
        return RETRY_SECONDS

    async def _load(self, child: Group) -> bool:
        """False when the model cannot be loaded. Raises ``Died``."""
        while True:
            event = await self._unless_stopped(child.receive())
            match event:
                case None:
                    return True
                case Loading():
                    self._report.loading(event)
                case Ready(detail=detail):
                    log.info("%s", detail)
                    self._deaths = 0
                    self._report.ready(event)
                    return True
                case LoadFailed(problem=problem, fix=fix):
                    log.error("%s (%s)", problem, fix)
                    self._report.failed(event)
                    return False

    async def _serve(self, child: Group) -> None:
        """Jobs until the worker is to stop, or killed this child. Raises ``Died`` when it died by itself."""
        while not self._stop.is_set() and not child.was_killed:
            job = await self._next(child)
            if job is None:
                continue
            with logs.about(job_id=job.id):
                log.info("job %s, attempt %d", job.id, job.attempt)
                started = time.monotonic()
                with suppress(LeaseLost):
                    await self._work(job, child)
                log.info("job %s left after %.1f s", job.id, time.monotonic() - started)

    async def _next(self, child: Group) -> Claimed | None:
        """The next job. A child that dies meanwhile is noticed at once; a job that just came goes back."""
        claim = asyncio.create_task(self._queue.claim(self._plan))
        listen = asyncio.create_task(child.receive())
        try:
            await self._unless_stopped(_first(claim, listen))
            if listen.done():
                if claim.done() and (job := claim.result()) is not None:
                    await self._give_back(job)
                listen.result()
            return claim.result() if claim.done() else None
        finally:
            for task in (claim, listen):
                task.cancel()
            await asyncio.gather(claim, listen, return_exceptions=True)

    # -- one job -----------------------------------------------------------------------------------

    async def _work(self, job: Claimed, child: Group) -> None:
        """Make the clip and hand it in. Raises ``LeaseLost``, or ``Died`` when the child did by itself."""
        folder = self._scratch / f"{job.id}-{job.token}"
        attempt = Attempt(job, self._queue, child, folder)
        tasks: list[asyncio.Task[Any]] = []
        try:
            folder.mkdir()
            tasks = [asyncio.create_task(attempt.make()), asyncio.create_task(attempt.mind())]
            if await self._until_made(*tasks):
                await self._hand_in(job, attempt, tasks[0].result())
            else:
                child.kill()
                await self._give_back(job)
        except Died as died:
            await attempt.finish_dead(died)
            if not child.was_killed:
                raise
        except Refused as refused:
            await attempt.give_up(refused)
        except OSError as error:
            if error.errno in FULL_DISK:
                await self._hold(job, str(error))
            else:
                await attempt.give_up(Refused("generation_failed", f"the worker's files: {error}"))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            shutil.rmtree(folder, ignore_errors=True)

    async def _until_made(self, making: asyncio.Task[Outcome], minding: asyncio.Task[None]) -> bool:
        """False when the worker has to stop first; a lost lease ends the work."""
        await self._unless_stopped(_first(making, minding))
        if making.done():
            return True
        if minding.done():
            minding.result()
        return False

    async def _hand_in(self, job: Claimed, attempt: Attempt, outcome: Outcome) -> None:
        if isinstance(outcome, Failed) and outcome.code == DISK_FULL:
            await self._hold(job, outcome.message)
            return
        if isinstance(outcome, Done):
            if self._full_disks:
                self._full_disks = 0
                self._report.detail("the disk has room again")
            self._report.first_clip(attempt.started_at)
        await attempt.finish(outcome)

    async def _hold(self, job: Claimed, reason: str) -> None:
        """The job waits until the disk has room again: nobody's clip fails because of that."""
        self._full_disks += 1
        log.error("job %s waits: %s", job.id, reason)
        self._report.detail(f"the disk is full: {reason}")
        await self._give_back(job)
        await self._rest(PAUSES[min(self._full_disks, len(PAUSES)) - 1])

    async def _give_back(self, job: Claimed) -> None:
        """Into the queue, where its place is kept."""
        log.info("job %s goes back into the queue", job.id)
        with suppress(LeaseLost, Refused, TimeoutError):
            await asyncio.wait_for(self._queue.release(job), 3)

    async def _rest(self, seconds: float | None) -> None:
        if seconds is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), seconds)

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
    parser.add_argument("--log-format", choices=("text", "json"), default="text")
    arguments = parser.parse_args(argv)
    logs.begin(arguments.log_format)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        asyncio.run(_main(arguments))
    except KitError as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
