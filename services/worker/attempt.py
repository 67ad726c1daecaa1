"""One attempt at one job: what the child reports of it, and what the queue gets to know."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from pathlib import Path

from services.worker.gpu_process import Died
from services.worker.patience import Patience
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
from services.worker.queue_client import LeaseLost, Refused, RemoteQueue
from services.worker.ranks import Group

log = logging.getLogger("kinokit.worker")

BEAT_SECONDS = 5.0
PROGRESS_SECONDS = 1.0  # progress is sent this often when there is any
CANCEL_SECONDS = 4.0  # a child that does not stop by then is killed


class Attempt:
    """``make`` and ``mind`` run side by side; then one of ``finish``, ``finish_dead`` and ``give_up``."""

    def __init__(self, job: Claimed, queue: RemoteQueue, child: Group, folder: Path) -> None:
        self._job = job
        self._queue = queue
        self._child = child
        self._folder = folder
        self._progress: Progress | None = None
        self._changed = asyncio.Event()
        self._clip = folder / "clip.mp4"
        self._is_cancelled = False
        self._over: JobError | None = None  # a limit that was passed
        self._is_running = False  # the child has it
        self._is_made = False  # the child is done with it; what is left is to hand it in
        self._patience = Patience(job)
        self.started_at = time.time()

    async def make(self) -> Outcome:
        """Raises ``Died`` or ``Refused``."""
        image = None
        if self._job.has_input:
            image = self._folder / "input"
            await self._queue.read_input(self._job, image)
        self._patience = Patience(self._job)
        self._is_running = True
        await self._child.send(
            Run(values=self._job.values, image=image, path=self._clip, job_id=self._job.id)
        )
        while True:
            event = await self._child.receive()
            if isinstance(event, Progress):
                self._progress = event
                self._patience.see(event)
                self._changed.set()
            elif isinstance(event, Outcome):
                self._is_made, self._is_running = True, False
                return event

    async def mind(self) -> None:
        """Keep the lease and the limits while the job lasts.

        Raises ``LeaseLost`` after the child got the order to stop, or ``Refused``.
        """
        limits = asyncio.create_task(self._keep_limits())
        try:
            await self._beat()
        finally:
            limits.cancel()
            await asyncio.gather(limits, return_exceptions=True)

    async def _beat(self) -> None:
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

    async def _keep_limits(self) -> None:
        over = None
        while over is None:
            await asyncio.sleep(max(0.1, self._patience.left_seconds()))
            over = self._patience.error() if self._is_running else None
        log.warning("job %s: %s", self._job.id, over.message)
        self._over = over
        await self._end_child()

    async def finish(self, outcome: Outcome) -> None:
        """Hand in the clip, or the reason why there is none. Raises ``LeaseLost`` or ``Refused``."""
        match outcome:
            case Done(clip=clip):
                await self._queue.write_content(self._job, self._clip)
                finish = Finish(token=self._job.token, status="completed", metadata=clip.model_dump())
                await self._queue.finish(self._job, finish)
            case Cancelled():
                await self._end_early()
            case Failed(code=code, message=message, error_id=error_id):
                await self._fail(JobError(code=code, message=message), error_id)

    async def finish_dead(self, died: Died) -> None:
        """A child that was killed on purpose has ended its job; else its death counts against the job."""
        with suppress(LeaseLost, Refused):
            if self._is_cancelled or self._over is not None:
                await self._end_early()
            elif not self._child.was_killed:
                await self._queue.bury(self._job, str(died))

    async def give_up(self, refused: Refused) -> None:
        """The front takes no verb of this job any more: the job fails, the worker goes on."""
        if self._is_running:
            self._child.kill()
        log.error("job %s: %s", self._job.id, refused)
        with suppress(LeaseLost, Refused):  # that is all that can be done for it
            await self._fail(JobError(code=refused.code, message=str(refused)))

    async def _end_early(self) -> None:
        if self._over is not None and not self._is_cancelled:
            await self._fail(self._over)
        else:
            await self._queue.finish(self._job, Finish(token=self._job.token, status="cancelled"))

    async def _fail(self, error: JobError, error_id: str | None = None) -> None:
        metadata = {"error_id": error_id} if error_id else {}
        finish = Finish(token=self._job.token, status="failed", error=error, metadata=metadata)
        await self._queue.finish(self._job, finish)

    async def _end_child(self) -> None:
        """Order it to stop the job, then kill it; this task is cancelled as soon as the child has stopped."""
        if not self._is_running:
            return
        await self._child.send(CancelRun())
        await asyncio.sleep(CANCEL_SECONDS)
        if self._is_running:
            log.warning("the GPU child did not stop in %g s: killed", CANCEL_SECONDS)
            self._child.kill()
