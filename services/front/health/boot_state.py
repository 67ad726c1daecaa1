"""The boot document as the agent wrote it, with the workers' word on top; and the plan, once it is there."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bootstrap.choose.plan import Plan
from bootstrap.errors import KitError
from services.queue.workers import Report, WorkerRegistry

LAUNCHED = ("launching", "loading", "ready")
NO_AGENT = "starting"  # or one that has not written yet


class BootState:
    def __init__(self, data_dir: Path, workers: WorkerRegistry) -> None:
        self._boot_file = data_dir / "boot.json"
        self._plan_file = data_dir / "plan.json"
        self._workers = workers
        self.queue_failure: KitError | None = None  # why the queue cannot be used, as it was last asked
        self._plan: tuple[tuple[int, int], Plan] | None = None

    def plan(self) -> Plan | None:
        """None until bootstrap has written it; read again when it was replaced."""
        stamp = _stamp(self._plan_file)
        if stamp is None:
            return None
        if self._plan is None or self._plan[0] != stamp:
            try:
                self._plan = (stamp, Plan.read(self._plan_file))
            except (
                OSError,
                ValidationError,
            ):  # gone, or of another version of the kit: the agent will write it
                return None
        return self._plan[1]

    def planned_at(self) -> int:
        """When the plan was written, in seconds since the epoch; 0 before."""
        stamp = _stamp(self._plan_file)
        return 0 if stamp is None else stamp[0] // 10**9

    def document(self) -> dict[str, Any]:
        """The agent's document; ``state`` and the phase ``load`` as the workers see it now."""
        document = self._written()
        # A front with an agent speaks of its own box; one without speaks of all that share its queue.
        workers = self._workers.here() if document["state"] != NO_AGENT else self._workers.present()
        written = document["state"]
        document["state"], document["failure"] = state_of(document, workers, self.queue_failure)
        if workers and (written in LAUNCHED or document["state"] in LAUNCHED):
            _merge_load(document, workers)
        return document

    def is_stopping(self) -> bool:
        return bool(self._written()["state"] == "stopping")

    def state(self) -> str:
        return str(self.document()["state"])

    def _written(self) -> dict[str, Any]:
        try:
            document = json.loads(self._boot_file.read_bytes())
        except (OSError, ValueError):  # not written yet
            document = None
        if not isinstance(document, dict):
            document = {}
        return {"state": NO_AGENT, "phases": [], "findings": [], "failure": None} | document


def state_of(
    document: Mapping[str, Any], workers: Sequence[Report], queue_failure: KitError | None
) -> tuple[str, Mapping[str, Any] | None]:
    """The state of the whole kit, and why no job can run when it has failed. The agent acts on this answer.

    ``document`` is what the agent wrote, ``workers`` are those heard lately.
    """
    written, failure = str(document["state"]), document["failure"]
    if failure is not None and failure.get("phase") != "load":
        return "failed", failure  # the boot's own: no worker can change it
    if failure is None and written in ("failed", "stopping"):
        return written, None
    if queue_failure is not None:
        return "failed", _of_load(queue_failure.problem, queue_failure.fix)
    # Without an agent a worker's report is enough; "failed" while loading is not for ever.
    if written in (*LAUNCHED, NO_AGENT, "failed") and any(each.state == "ready" for each in workers):
        return "ready", None
    if failure is not None:
        return "failed", failure
    reasons = [each.failure for each in workers if each.state == "failed" and each.failure]
    if reasons and len(reasons) == len(workers):
        return "failed", _of_load(str(reasons[0].get("problem", "")), str(reasons[0].get("fix", "")))
    return "loading" if written == "ready" else written, None


def _of_load(problem: str, fix: str) -> Mapping[str, Any]:
    return {"problem": problem, "fix": fix, "phase": "load", "ends": False}


def _merge_load(document: dict[str, Any], workers: list[Report]) -> None:
    """Phase ``load``: done when one worker is ready, else the one that is furthest."""
    phases = [dict(phase) for phase in document["phases"]]
    load = next((phase for phase in phases if phase.get("name") == "load"), None)
    if load is None:
        load = {"name": "load", "ended_at": None}
        phases.append(load)
    ready = [report for report in workers if report.state == "ready"]
    shown = max(ready or workers, key=lambda report: report.progress or 0.0)
    load["state"] = "done" if ready else "running"
    load["detail"] = shown.detail if ready or shown.failure is None else str(shown.failure.get("problem", ""))
    load["progress"] = 1.0 if ready else shown.progress
    if not load.get("started_at"):
        load["started_at"] = min(report.since for report in workers)
    if ready and not load.get("ended_at"):
        load["ended_at"] = min(report.since for report in ready)
    document["phases"] = phases


def progress(document: dict[str, Any]) -> tuple[str | None, float | None]:
    """The phase that runs and how far it is, 0 to 1, for those who may see no more."""
    running = next((phase for phase in document["phases"] if phase.get("state") == "running"), None)
    if running is None:
        return None, None
    if running.get("progress") is not None:
        return running["name"], running["progress"]
    if running.get("bytes_total"):
        return running["name"], round(running.get("bytes_done", 0) / running["bytes_total"], 4)
    return running["name"], None


def has_finding(document: Mapping[str, Any], code: str) -> bool:
    return any(each.get("code") == code for each in document["findings"])


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino
