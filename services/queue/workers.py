"""The workers: what each reported last, and what it can do. In memory; each repeats it every 5 s."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from bootstrap.choose.plan import Plan

SILENT_SECONDS = 15.0  # after this a worker counts as gone
FORGET_SECONDS = 600.0  # after this nobody asks any more where it is

State = Literal["loading", "ready", "failed"]


@dataclass(frozen=True)
class Report:
    """What one worker reported. ``progress`` is 0 to 1."""

    worker: str
    state: State
    reported_at: float
    since: float  # of this state's first report
    detail: str | None = None
    progress: float | None = None
    timings: dict[str, Any] = field(default_factory=dict)
    profile: str | None = None
    failure: dict[str, Any] | None = None
    plan: Plan | None = None  # of the model that it announces

    def public(self) -> dict[str, Any]:
        """All but the plan, of which the name of the model is enough."""
        shown = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "plan"}
        return shown | {"model": self.plan.model if self.plan else None}

    def as_json(self) -> dict[str, Any]:
        plan = self.plan.model_dump(mode="json") if self.plan else None
        return {each.name: getattr(self, each.name) for each in fields(self)} | {"plan": plan}

    @classmethod
    def from_json(cls, document: dict[str, Any], *, reported_at: float) -> Report:
        plan = None if document["plan"] is None else Plan.model_validate(document["plan"])
        return cls(**document | {"plan": plan, "reported_at": reported_at})


class WorkerRegistry:
    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._here: dict[str, Report] = {}
        self._elsewhere: dict[str, Report] = {}

    def report(self, worker: str, state: State, **more: Any) -> Report:
        """A worker's report to this front."""
        now = self._clock()
        self._here = {
            name: each for name, each in self._here.items() if each.reported_at >= now - FORGET_SECONDS
        }
        before = self._here.get(worker)
        since = before.since if before is not None and before.state == state else now
        self._here[worker] = Report(worker, state, now, since, **more)
        return self._here[worker]

    def replace_elsewhere(self, reports: Iterable[Report]) -> None:
        """What workers reported to other fronts of the same queue."""
        self._elsewhere = {report.worker: report for report in reports}

    def here(self) -> list[Report]:
        """Those that reported to this front lately."""
        return [report for report in self._here.values() if self._is_present(report)]

    def present(self) -> list[Report]:
        """Those that reported to any front lately."""
        newest = {report.worker: report for report in self._elsewhere.values() if self._is_present(report)}
        return list((newest | {report.worker: report for report in self.here()}).values())

    def all(self) -> list[Report]:
        """Those that are gone as well, but not for long."""
        known = (self._elsewhere | self._here).values()
        return [report for report in known if report.reported_at >= self._clock() - FORGET_SECONDS]

    def plans(self) -> dict[str, Plan]:
        """The models that workers announce, by name."""
        return {report.plan.model: report.plan for report in self.present() if report.plan is not None}

    @property
    def ready(self) -> int:
        return sum(report.state == "ready" for report in self.present())

    def _is_present(self, report: Report) -> bool:
        return report.reported_at >= self._clock() - SILENT_SECONDS
