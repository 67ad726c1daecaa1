"""How far a clip is and how long it still takes, from the engine's stages. Learns from the clips before."""

from __future__ import annotations

import time
from collections.abc import Callable

# What share of a clip's time a stage takes, before this process has made one.
SHARES = {"encode": 0.05, "sample": 0.75, "decode": 0.20}
OTHER_SHARE = 0.1
EARLIEST = 0.02  # below this the elapsed time says too little


class Estimate:
    """One clip. ``seconds`` holds how long each stage took so far."""

    def __init__(self, shares: dict[str, float], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._shares = shares
        self._clock = clock
        self._started = clock()
        self._stage: str | None = None
        self._stage_started = self._started
        self._passed: list[str] = []
        self.seconds: dict[str, float] = {}
        self.progress = 0.0
        self.eta_seconds: float | None = None

    def advance(self, stage: str, done: int, total: int) -> None:
        """The engine's report; a stage that comes for the first time ends the one before."""
        now = self._clock()
        if stage != self._stage:
            self._end_stage(now)
            self._stage, self._stage_started = stage, now
        within = min(1.0, done / total) if total else 0.0
        whole = sum(self._shares.values())
        passed = sum(self._shares.get(name, OTHER_SHARE) for name in self._passed)
        reached = (passed + within * self._shares.get(stage, OTHER_SHARE)) / whole
        self.progress = max(self.progress, min(0.99, reached))
        elapsed = now - self._started
        if self.progress >= EARLIEST:
            self.eta_seconds = elapsed / self.progress * (1 - self.progress)

    def finish(self) -> dict[str, float]:
        """Seconds of each stage, and the shares that the next clip starts from."""
        self._end_stage(self._clock())
        total = sum(self.seconds.values())
        if total > 0:
            self._shares.clear()
            self._shares.update({stage: seconds / total for stage, seconds in self.seconds.items()})
        return self.seconds

    def _end_stage(self, now: float) -> None:
        if self._stage is not None:
            self.seconds[self._stage] = self.seconds.get(self._stage, 0.0) + now - self._stage_started
            self._passed.append(self._stage)
        self._stage = None
