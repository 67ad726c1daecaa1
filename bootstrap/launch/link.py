"""The link, measured on the first bytes of a download: what the rest takes and costs, and when to leave."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import BaseModel

from bootstrap.detect.machine import Finding
from bootstrap.fetch import Progress


class Usual(BaseModel):
    """What another host would take, and when that is worth a move; ``forecast.yaml`` has the numbers."""

    link_bytes_per_second: float
    start_seconds: float
    worth_times: float
    worth_seconds: float


@dataclass(frozen=True)
class Measured:
    """From now on. ``usual_seconds``: a usual host, started now, would have the whole."""

    bytes_per_second: float
    remaining_bytes: int
    eta_seconds: float
    usual_seconds: float
    dollars: float | None  # of the rest
    usual_dollars: float | None

    def is_slow(self, usual: Usual) -> bool:
        more = self.eta_seconds - self.usual_seconds
        return more >= usual.worth_seconds and self.eta_seconds >= usual.worth_times * self.usual_seconds

    def document(self) -> dict[str, Any]:
        """For the boot document: numbers alone."""
        return asdict(self)


class Link:
    """Judges after a hundredth of the download and some seconds, and again while it lasts."""

    MEASURE_SECONDS = 10.0  # less says nothing: connections are still being opened
    LONGEST_SECONDS = 60.0  # a link that brings no hundredth in this time is slow
    WINDOW_SECONDS = 30.0
    FIRST_SHARE = 0.01

    def __init__(
        self,
        usual: Usual,
        *,
        packages_bytes: int = 0,
        dollars_per_hour: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``packages_bytes``: what a fresh box has to download beside the model."""
        self._usual = usual
        self._packages_bytes = packages_bytes
        self._price = dollars_per_hour
        self._clock = clock
        self._samples: deque[tuple[float, int]] = deque()
        self._first: tuple[float, int] | None = None

    def see(self, progress: Progress) -> Measured | None:
        """None until enough has come to say something."""
        now, done = self._clock(), progress.bytes_done
        if self._first is None or done < self._first[1]:  # what was there is not what came
            self._first = (now, done)
            self._samples.clear()
        self._samples.append((now, done))
        while len(self._samples) > 2 and now - self._samples[1][0] >= self.WINDOW_SECONDS:
            self._samples.popleft()
        seconds, came = now - self._first[0], done - self._first[1]
        enough = came >= self.FIRST_SHARE * progress.bytes_total or seconds >= self.LONGEST_SECONDS
        if seconds < self.MEASURE_SECONDS or not enough or done >= progress.bytes_total:
            return None
        return self._measured(progress, now)

    def _measured(self, progress: Progress, now: float) -> Measured:
        began, had = self._samples[0]
        rate = max(1.0, (progress.bytes_done - had) / (now - began))
        remaining = progress.bytes_total - progress.bytes_done
        whole = progress.bytes_total + self._packages_bytes
        eta = remaining / rate
        there = self._usual.start_seconds + whole / self._usual.link_bytes_per_second
        return Measured(rate, remaining, eta, there, self._dollars(eta), self._dollars(there))

    def _dollars(self, seconds: float) -> float | None:
        return None if self._price is None else seconds / 3600 * self._price


def finding(measured: Measured, usual: Usual, *, stop: str) -> Finding | None:
    """``stop``: how this box is ended. None for a link that is worth waiting for."""
    if not measured.is_slow(usual):
        return None
    rest, there = _minutes(measured.eta_seconds), _minutes(measured.usual_seconds)
    rate = f"{measured.bytes_per_second * 8 / 1e6:.0f} Mbit/s"
    here_costs = f", ${measured.dollars:.2f}" if measured.dollars is not None else ""
    there_costs = f", ${measured.usual_dollars:.2f}" if measured.usual_dollars is not None else ""
    return Finding(
        "slow_link",
        f"the download comes at {rate}: the rest takes {rest}{here_costs};"
        f" a usual host, started now, would be done in {there}{there_costs}",
        f"end this box and rent another: `kinokit rent stop` where you rented it; or: {stop}",
    )


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
