"""How a worker is, as the front knows it: told when it changes, and every few seconds as its heartbeat."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

from bootstrap.choose.plan import Plan
from services.worker.protocol import LoadFailed, Loading, Problem, Ready, Span, WorkerReport
from services.worker.queue_client import RemoteQueue

REPORT_SECONDS = 5.0
FIRST_CLIP = "first clip"


class Reporter:
    """A worker whose child had loaded well stays ``ready`` while the next one starts: jobs will run."""

    def __init__(self, plan: Plan, queue: RemoteQueue) -> None:
        self._plan = plan
        self._queue = queue
        self._changed = asyncio.Event()
        self._report = WorkerReport(state="loading", profile=plan.profile, plan=plan)

    def starting(self) -> None:
        """A child starts."""
        if self._report.state == "ready":
            self.detail("the GPU process starts again")
        elif self._report.state == "loading":
            self._change(WorkerReport(state="loading", detail="starting"))

    def loading(self, event: Loading) -> None:
        if self._report.state == "loading":
            self._change(WorkerReport(state="loading", **event.model_dump(exclude={"kind"})))

    def ready(self, event: Ready) -> None:
        self._change(WorkerReport(state="ready", detail=event.detail, timings=event.timings))

    def does_not_load(self) -> None:
        """A child died while it loaded, whatever was before."""
        if self._report.state == "ready":
            self._change(WorkerReport(state="loading", detail="starting"))

    def failed(self, event: LoadFailed) -> None:
        failure = Problem(problem=event.problem, fix=event.fix)
        self._change(WorkerReport(state="failed", failure=failure))

    def detail(self, text: str) -> None:
        self._change(self._report.model_copy(update={"detail": text}))

    def first_clip(self, started_at: float) -> None:
        """Added to the spans of this child's start, once."""
        timings = self._report.timings
        if not any(span.name == FIRST_CLIP for span in timings.spans):
            first = Span(name=FIRST_CLIP, started_at=started_at, ended_at=time.time())
            timings = timings.model_copy(update={"spans": (*timings.spans, first)})
            self._change(self._report.model_copy(update={"timings": timings}))

    async def keep(self) -> None:
        """For ever."""
        while True:
            self._changed.clear()
            await self._queue.report(self._report)
            await asyncio.sleep(0.1)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), REPORT_SECONDS)

    def _change(self, report: WorkerReport) -> None:
        self._report = report.model_copy(update={"profile": self._plan.profile, "plan": self._plan})
        self._changed.set()
