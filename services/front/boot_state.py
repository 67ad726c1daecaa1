"""The boot document as the agent wrote it, with the workers' word on top; and the plan, once it is there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bootstrap.choose.plan import Plan
from services.queue.workers import Report, WorkerRegistry

LAUNCHED = ("launching", "loading", "ready")


class Boot:
    def __init__(self, data_dir: Path, workers: WorkerRegistry) -> None:
        self._boot_file = data_dir / "boot.json"
        self._plan_file = data_dir / "plan.json"
        self._workers = workers
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
        document["state"] = _state(document, self._workers.present())
        _merge_load(document, self._workers.present())
        return document

    def state(self) -> str:
        return str(self.document()["state"])

    def _written(self) -> dict[str, Any]:
        try:
            document = json.loads(self._boot_file.read_bytes())
        except (OSError, ValueError):  # not written yet
            document = None
        if not isinstance(document, dict):
            document = {}
        return {"state": "starting", "phases": [], "findings": [], "failure": None} | document


def _state(document: dict[str, Any], workers: list[Report]) -> str:
    written = str(document["state"])
    if document["failure"] is not None or written == "failed":
        return "failed"
    if written == "stopping":
        return written
    # Without an agent (state "starting") a worker's word is enough.
    if written in (*LAUNCHED, "starting") and any(report.state == "ready" for report in workers):
        return "ready"
    return "loading" if written == "ready" else written


def _merge_load(document: dict[str, Any], workers: list[Report]) -> None:
    """Phase ``load``: done when one worker is ready, else the one that is furthest."""
    if document["state"] not in LAUNCHED or not workers:
        return
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


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino
