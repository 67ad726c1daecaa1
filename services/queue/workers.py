"""What the workers said last, in memory: each repeats it every 5 s."""

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
    heard_at: float
    first_heard_at: float
    detail: str | None = None
    progress: float | None = None
    timings: dict[str, Any] = field(default_factory=dict)
    profile: str | None = None
    failure: dict[str, Any] | None = None


class Crew:
    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._reports: dict[str, Report] = {}

    def hear(self, worker: str, state: State, **said: Any) -> None:
        now = self._clock()
        before = self._reports.get(worker)
        started = before.first_heard_at if before is not None and before.state == state else now
        self._reports[worker] = Report(worker, state, now, started, **said)

    def present(self) -> list[Report]:
        """Those heard lately."""
        since = self._clock() - SILENT_SECONDS
        return [report for report in self._reports.values() if report.heard_at >= since]

    def all(self) -> list[Report]:
        return list(self._reports.values())

    @property
    def ready(self) -> int:
        return sum(report.state == "ready" for report in self.present())
