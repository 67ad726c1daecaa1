"""The boot document: what the boot is doing, written by the agent for the page and the terminal."""

from __future__ import annotations

import copy
import json
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from bootstrap import files
from bootstrap.detect.machine import Finding
from bootstrap.errors import KitError
from bootstrap.launch.timeline import Timeline

PHASES = ("detect", "choose", "fetch", "launch", "load")
STATES = {
    "detect": "detecting",
    "choose": "choosing",
    "fetch": "fetching",
    "launch": "launching",
    "load": "loading",
}
TIMED = ("detect", "choose", "fetch")  # the timeline has these as they are; of the others it knows more
WRITE_SECONDS = 0.2
RESERVE_BYTES = 64 * 1024


class BootDocument:
    """Changes come from any thread; ``flush`` writes them, at most five times a second unless ``now``."""

    def __init__(self, path: Path | None, *, clock: Callable[[], float] = time.time, **known: Any) -> None:
        """``known``: model, title, service, platform, url, hourly_cost, access.

        Without a path nothing is written.
        """
        self._path = path
        self._clock = clock
        self.timeline = Timeline(clock=clock)
        self._lock = threading.RLock()
        self._changed = True
        self._written_at = 0.0
        # A full disk must not hide that it is full: this is given up to write the failure.
        self._reserve = path.with_name(path.name + ".reserve") if path else None
        self._document: dict[str, Any] = {
            "state": "starting",
            **known,
            "started_at": clock(),
            "phases": [
                {"name": name, "state": "waiting", "started_at": None, "ended_at": None, "detail": None}
                for name in PHASES
            ],
            "findings": [],
            "failure": None,
            "asks": None,
            "timeline": [],
        }
        if self._reserve:
            with suppress(OSError):
                self._reserve.write_bytes(bytes(RESERVE_BYTES))

    def snapshot(self) -> dict[str, Any]:
        with self._lock:
            return copy.deepcopy(self._document | {"timeline": self.timeline.rows()})

    def touch(self) -> None:
        """The timeline has changed."""
        with self._lock:
            self._changed = True

    def set(self, **values: Any) -> None:
        with self._lock:
            self._document.update(values)
            self._changed = True

    def find(self, findings: tuple[Finding, ...]) -> None:
        self.set(findings=[{"code": f.code, "problem": f.problem, "fix": f.fix} for f in findings])

    def find_more(self, *findings: Finding) -> None:
        """Beside those that are there; one of the same code takes the earlier one's place."""
        with self._lock:
            new = [{"code": f.code, "problem": f.problem, "fix": f.fix} for f in findings]
            codes = {each["code"] for each in new}
            kept = [each for each in self._document["findings"] if each["code"] not in codes]
            self.set(findings=[*kept, *new])

    def withdraw(self, code: str) -> None:
        """A finding that is no longer true."""
        with self._lock:
            kept = [each for each in self._document["findings"] if each["code"] != code]
            if len(kept) < len(self._document["findings"]):
                self.set(findings=kept)

    @property
    def asks(self) -> Mapping[str, str] | None:
        """What the boot waits for on its page."""
        with self._lock:
            asked: Mapping[str, str] | None = self._document["asks"]
        return asked

    def ask(self, asks: Mapping[str, str] | None) -> None:
        """``problem``, ``fix``, ``page`` and ``host`` of a missing token; None once it is there."""
        self.set(asks=asks)
        self.advance("fetch", detail="waits for a token: type it on the boot page" if asks else None)
        self.flush(now=True)

    def begin(self, phase: str, detail: str | None = None) -> None:
        if phase in TIMED:
            before = PHASES.index(phase) - 1
            self.timeline.begin(phase, waited_for=PHASES[before] if before >= 0 else "port")
        self._phase(phase, state="running", started_at=self._clock(), ended_at=None, detail=detail)
        self.set(state=STATES[phase])
        self.flush(now=True)

    def advance(self, phase: str, **values: Any) -> None:
        self._phase(phase, **values)

    def end(self, phase: str, detail: str | None = None) -> None:
        self.timeline.end(phase, detail=detail)
        self._phase(phase, state="done", ended_at=self._clock(), **({"detail": detail} if detail else {}))
        self.flush(now=True)

    def fail(self, phase: str, error: KitError, *, ends: bool = False) -> None:
        """``ends``: nothing stays up to show it."""
        self.timeline.end(phase, detail="failed")
        self._phase(phase, state="failed", ended_at=self._clock())
        failure = {"problem": error.problem, "fix": error.fix, "phase": phase, "ends": ends}
        self.set(state="failed", failure=failure)
        self.flush(now=True)

    def flush(self, *, now: bool = False) -> None:
        with self._lock:
            due = now or self._clock() - self._written_at >= WRITE_SECONDS
            if not self._changed or not due:
                return
            text = json.dumps(self._document | {"timeline": self.timeline.rows()})
            if self._path and self._reserve:
                try:
                    files.replace_text(self._path, text)
                except OSError:
                    self._reserve.unlink(missing_ok=True)
                    with suppress(OSError):
                        files.replace_text(self._path, text)
            self._changed = False
            self._written_at = self._clock()

    def close(self) -> None:
        self.flush(now=True)
        if self._reserve:
            self._reserve.unlink(missing_ok=True)

    def _phase(self, name: str, **values: Any) -> None:
        with self._lock:
            self._document["phases"][PHASES.index(name)].update(values)
            self._changed = True
