"""One attempt at one job: what the child reports of it, and what the queue gets to know."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from pathlib import Path

from services.worker.gpu_process import Died
from services.worker.protocol import (
    Cancelled,
    CancelRun,
    Claimed,
    Done,
    Failed,
    Finish,
    JobError,
    Outcome,
    Progress,
    Run,
)
from services.worker.queue_client import LeaseLost, RemoteQueue
from services.worker.ranks import Group

log = logging.getLogger("kinokit.worker")

BEAT_SECONDS = 5.0
PROGRESS_SECONDS = 1.0  # progress is sent this often when there is any
CANCEL_SECONDS = 4.0  # a child that does not stop by then is killed


class Attempt:
    """``make`` and ``beat`` run side by side; then one of ``finish`` and ``finish_dead``."""

    def __init__(self, job: Claimed, queue: RemoteQueue, child: Group, folder: Path) -> None:
        self._job = job
        self._queue = queue
        self._child = child
        self._folder = folder
        self._progress: Progress | None = None
        self._changed = asyncio.Event()
        self._clip = folder / "clip.mp4"
        self._is_cancelled = False
        self._is_made = False  # the child is done with it; what is left is to hand it in
        self.started_at = time.time()

    async def make(self) -> Outcome:
        """Raises ``Died``."""
        image = None
        if self._job.has_input:
            image = self._folder / "input"
            await self._queue.read_input(self._job, image)
        await self._child.send(Run(values=self._job.values, image=image, path=self._clip))
        while True:
            event = await self._child.receive()
            if isinstance(event, Progress):
                self._progress = event
                self._changed.set()
            elif isinstance(event, Outcome):
                self._is_made = True
                return event

    async def beat(self) -> None:
        """Keep the lease while the job lasts. Raises ``LeaseLost`` after the child got the order to stop."""
        while True:
            self._changed.clear()
            try:
                cancel = await self._queue.beat(self._job, self._progress)
            except LeaseLost:
                await self._end_child()
                raise
            if cancel and not self._is_cancelled and not self._is_made:
                self._is_cancelled = True
                log.info("job %s is cancelled", self._job.id)
                await self._end_child()
            await asyncio.sleep(PROGRESS_SECONDS)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), BEAT_SECONDS - PROGRESS_SECONDS)

    async def finish(self, outcome: Outcome) -> None:
        """Hand in the clip, or the reason why there is none. Raises ``LeaseLost``."""
        token = self._job.token
        match outcome:
            case Done(clip=clip):
                await self._queue.write_content(self._job, self._clip)
                finish = Finish(token=token, status="completed", metadata=clip.model_dump())
            case Cancelled():
                finish = Finish(token=token, status="cancelled")
            case Failed(code=code, message=message, error_id=error_id):
                metadata = {"error_id": error_id} if error_id else {}
                error = JobError(code=code, message=message)
                finish = Finish(token=token, status="failed", error=error, metadata=metadata)
        await self._queue.finish(self._job, finish)

    async def finish_dead(self, died: Died) -> None:
        """A killed job that was cancelled has ended; else its death is told, and counts against the job."""
        with suppress(LeaseLost):
            if self._is_cancelled:
                await self._queue.finish(self._job, Finish(token=self._job.token, status="cancelled"))
            else:
                await self._queue.bury(self._job, str(died))

    async def _end_child(self) -> None:
        """Order it to stop the job, then kill it; this task is cancelled as soon as the child has stopped."""
        if self._is_made:
            return
        await self._child.send(CancelRun())
        await asyncio.sleep(CANCEL_SECONDS)
        if not self._is_made:
            log.warning("the GPU child did not stop in %g s: killed", CANCEL_SECONDS)
            self._child.kill()
