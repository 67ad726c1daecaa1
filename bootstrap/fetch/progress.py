"""How far a fetch is: the value that the terminal and the boot document show."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

State = Literal["waiting", "running", "verifying", "done", "failed"]

WINDOW_SECONDS = 5.0  # of the mean rate: calm enough to read, quick enough to believe
REPORT_SECONDS = 0.25


@dataclass(frozen=True)
class FileProgress:
    """One file; ``bytes_done`` counts what lies on the disk, also what was there before."""

    path: str
    bytes_done: int
    bytes_total: int
    state: State


@dataclass(frozen=True)
class Progress:
    """All files together. A rate of ``None`` is not measured yet."""

    bytes_done: int
    bytes_total: int
    bytes_per_second: float | None
    eta_seconds: float | None
    files: tuple[FileProgress, ...]
    note: str | None


Report = Callable[[Progress], None]


class Meter:
    """Turns counts into rates and calls ``report``, at most four times a second."""

    def __init__(self, report: Report, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._report = report
        self._clock = clock
        self._samples: deque[tuple[float, int]] = deque()
        self._reported_at = float("-inf")
        self.note: str | None = None

    def report(self, files: tuple[FileProgress, ...], *, now: bool = False) -> None:
        """Report these files; ``now`` also when the last report was a moment ago."""
        at = self._clock()
        if not now and at - self._reported_at < REPORT_SECONDS:
            return
        self._reported_at = at
        done = sum(file.bytes_done for file in files)
        total = sum(file.bytes_total for file in files)
        rate = self._rate(at, done)
        eta = (total - done) / rate if rate else None
        self._report(Progress(done, total, rate, 0.0 if done >= total else eta, files, self.note))

    def _rate(self, at: float, done: int) -> float | None:
        samples = self._samples
        if samples and done < samples[-1][1]:  # something was thrown away: older samples no longer count
            samples.clear()
        samples.append((at, done))
        while len(samples) > 2 and at - samples[0][0] > WINDOW_SECONDS:
            samples.popleft()
        seconds = at - samples[0][0]
        if seconds < 0.2:
            return None
        return (done - samples[0][1]) / seconds
