"""What the workers reported last, in memory: each repeats it every 5 s."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

SILENT_SECONDS = 15.0  # after this a worker counts as gone

State = Literal["loading", "ready", "failed"]


@dataclass(frozen=True)
class Report:
    """One worker's own words. ``progress`` is 0 to 1."""

    worker: str
    state: State
    reported_at: float
    since: float  # of this state's first report
    detail: str | None = None
    progress: float | None = None
    timings: dict[str, Any] = field(default_factory=dict)
    profile: str | None = None
    failure: dict[str, Any] | None = None


class WorkerRegistry:
    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._reports: dict[str, Report] = {}

    def report(self, worker: str, state: State, **more: Any) -> None:
        now = self._clock()
        before = self._reports.get(worker)
        since = before.since if before is not None and before.state == state else now
        self._reports[worker] = Report(worker, state, now, since, **more)

    def present(self) -> list[Report]:
        """Those that reported lately."""
        oldest = self._clock() - SILENT_SECONDS
        return [report for report in self._reports.values() if report.reported_at >= oldest]

    def all(self) -> list[Report]:
        return list(self._reports.values())

    @property
    def ready(self) -> int:
        return sum(report.state == "ready" for report in self.present())
