"""The boot on a terminal: one live line where there is one, in a log a plain line every few seconds."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from typing import Any, TextIO

LOG_SECONDS = 5.0
LIVE_SECONDS = 0.2
UNITS = ((1024**4, "TiB"), (1024**3, "GiB"), (1024**2, "MiB"), (1024, "KiB"))


class Terminal:
    """Shows what the boot document says. ``say`` writes a line that stays."""

    def __init__(self, out: TextIO, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._out = out
        self._live = out.isatty()
        self.is_log = out.name.endswith(".log") if isinstance(getattr(out, "name", None), str) else False
        self._clock = clock
        self._shown_at = float("-inf")
        self._line = ""
        self._reported: set[tuple[str, str]] = set()

    def say(self, text: str) -> None:
        self._wipe()
        print(text, file=self._out, flush=True)

    def show(self, document: Mapping[str, Any]) -> None:
        """Findings and finished phases once each; the running one as often as is pleasant to read."""
        for finding in document.get("findings", ()):
            # "detect" says that there is no GPU, and a demo needs none.
            if finding["code"] != "no_gpu" and ("finding", finding["code"]) not in self._reported:
                self._reported.add(("finding", finding["code"]))
                self.say(f"! {finding['problem']}\n  {finding['fix']}")
        for phase in document["phases"]:
            key = (phase["name"], str(phase["ended_at"]))
            if phase["state"] == "done" and key not in self._reported:
                self._reported.add(key)
                self.say(finished(phase))
                self._shown_at = self._clock()
        phase = next((phase for phase in document["phases"] if phase["state"] == "running"), None)
        pause = LIVE_SECONDS if self._live else LOG_SECONDS
        if phase is None or self._clock() - self._shown_at < pause:
            return
        self._shown_at = self._clock()
        self._write(running(phase))

    def live(self, line: str) -> None:
        """A line that the next one replaces; in a log one every few seconds."""
        if self._clock() - self._shown_at >= (LIVE_SECONDS if self._live else LOG_SECONDS):
            self._shown_at = self._clock()
            self._write(line)

    def _write(self, line: str) -> None:
        if not self._live:
            if line != self._line:
                self.say(line)
            self._line = line
            return
        width = shutil.get_terminal_size().columns - 1
        self._line = line[:width]
        print(f"\r\x1b[K{self._line}", end="", file=self._out, flush=True)

    def _wipe(self) -> None:
        if self._live and self._line:
            print("\r\x1b[K", end="", file=self._out)
            self._line = ""


def finished(phase: Mapping[str, Any]) -> str:
    seconds = (phase["ended_at"] or 0) - (phase["started_at"] or 0)
    detail = f"  {phase['detail']}" if phase.get("detail") else ""
    return f"  {phase['name']:<7}{seconds:7.1f} s{detail}"


def running(phase: Mapping[str, Any]) -> str:
    """One line: phase, per cent, amount, rate, time left; whatever of it is known.

    >>> running({"name": "fetch", "bytes_done": 2**30, "bytes_total": 2**32, "bytes_per_second": 2.0**27,
    ...          "eta_seconds": 24.0})
    '  fetch   25 %  1.0 of 4.0 GiB  128.0 MiB/s  24 s left'
    """
    parts = [f"  {phase['name']:<7}"]
    total, done = phase.get("bytes_total"), phase.get("bytes_done", 0)
    if total:
        parts[0] += f"{done / total:4.0%}".replace("%", " %")
        scale, unit = next(((s, u) for s, u in UNITS if total >= s), (1, "B"))
        parts.append(f"{done / scale:.1f} of {total / scale:.1f} {unit}")
    elif phase.get("progress") is not None:
        parts[0] += f"{phase['progress']:4.0%}".replace("%", " %")
    if phase.get("bytes_per_second"):
        parts.append(f"{phase['bytes_per_second'] / 1024**2:.1f} MiB/s")
    if phase.get("eta_seconds"):
        parts.append(f"{duration(phase['eta_seconds'])} left")
    if phase.get("detail"):
        parts.append(str(phase["detail"]))
    return "  ".join(parts)


def duration(seconds: float) -> str:
    """
    >>> [duration(each) for each in (7.4, 75, 4000)]
    ['7 s', '1 min 15 s', '1 h 6 min']
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
