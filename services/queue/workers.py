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


@dataclass(frozen=True)
class Heard:
    report: Report
    at: float  # by a clock that nobody sets


class WorkerRegistry:
    def __init__(
        self, clock: Callable[[], float] = time.time, steady: Callable[[], float] = time.monotonic
    ) -> None:
        """``clock`` tells what people read; ``steady`` decides who is present, whatever the clock does."""
        self._clock = clock
        self._steady = steady
        self._here: dict[str, Heard] = {}
        self._elsewhere: dict[str, Heard] = {}

    def report(self, worker: str, state: State, **more: Any) -> Report:
        """A worker's report to this front."""
        now = self._clock()
        self._here = {name: each for name, each in self._here.items() if self._is_known(each)}
        before = self._here.get(worker)
        since = before.report.since if before is not None and before.report.state == state else now
        self._here[worker] = Heard(Report(worker, state, now, since, **more), self._steady())
        return self._here[worker].report

    def replace_elsewhere(self, reports: Iterable[Report]) -> None:
        """What workers reported to other fronts of the same queue, just read: their ages are right."""
        ahead = self._steady() - self._clock()
        self._elsewhere = {each.worker: Heard(each, each.reported_at + ahead) for each in reports}

    def here(self) -> list[Report]:
        """Those that reported to this front lately."""
        return [each.report for each in self._here.values() if self._is_present(each)]

    def present(self) -> list[Report]:
        """Those that reported to any front lately."""
        newest = {name: each.report for name, each in self._elsewhere.items() if self._is_present(each)}
        return list((newest | {report.worker: report for report in self.here()}).values())

    def all(self) -> list[Report]:
        """Those that are gone as well, but not for long."""
        return [each.report for each in (self._elsewhere | self._here).values() if self._is_known(each)]

    def plans(self) -> dict[str, Plan]:
        """The models that workers announce, by name."""
        return {report.plan.model: report.plan for report in self.present() if report.plan is not None}

    @property
    def ready(self) -> int:
        return sum(report.state == "ready" for report in self.present())

    def _is_present(self, heard: Heard) -> bool:
        return heard.at >= self._steady() - SILENT_SECONDS

    def _is_known(self, heard: Heard) -> bool:
        return heard.at >= self._steady() - FORGET_SECONDS
