"""How far a clip is and how long it still takes, from its stages. Learns from the clips before.

Stages may run at the same time: while frames are decoded, those before are already in the file.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

# What share of a clip's time a stage takes, before this process has made one.
SHARES = {"photo": 0.01, "encode": 0.05, "sample": 0.72, "decode": 0.20, "file": 0.02}
OTHER_SHARE = 0.1
EARLIEST = 0.02  # below this the elapsed time says too little


class Estimate:
    """One clip. ``progress`` is 0 to 1; ``seconds`` holds how long each stage took so far."""

    def __init__(
        self,
        learned: dict[str, float],
        *,
        stages: Iterable[str] = SHARES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``learned``: shares by stage, from the clips before; this clip adds its own."""
        self._learned = learned
        self._shares: dict[str, float] = {}
        for stage in stages:
            self._know(stage)
        self._done: dict[str, float] = {}  # stage -> 0 to 1, once it has begun
        self._clock = clock
        self._started = self._switched_at = clock()
        self._current: str | None = None
        self.seconds: dict[str, float] = {}
        self.progress = 0.0
        self.eta_seconds: float | None = None

    @property
    def stage(self) -> str | None:
        """The one to show: of those that have begun and not ended, the one that takes longest."""
        running = [stage for stage, done in self._done.items() if done < 1]
        return max(running, key=self._shares.__getitem__, default=self._current)

    @contextmanager
    def inside(self, stage: str) -> Iterator[None]:
        """The time until the block ends is this stage's, without what other stages take within it."""
        before = self._current
        self._switch(stage)
        try:
            yield
        finally:
            self._switch(before)

    def advance(self, stage: str, done: int, total: int) -> None:
        """A stage's report; from now on the time is its own. ``total`` 0: not known."""
        self._know(stage)
        self._switch(stage)
        within = min(1.0, done / total) if total else 0.0
        self._done[stage] = max(within, self._done.get(stage, 0.0))
        reached = sum(self._shares[name] * share for name, share in self._done.items())
        self.progress = max(self.progress, min(0.99, reached / sum(self._shares.values())))
        elapsed = self._clock() - self._started
        if self.progress >= EARLIEST:
            self.eta_seconds = elapsed / self.progress * (1 - self.progress)

    def finish(self) -> dict[str, float]:
        """Seconds of each stage, and the shares that the next clip starts from."""
        self._switch(None)
        total = sum(self.seconds.values())
        if total > 0:
            self._learned.update({stage: seconds / total for stage, seconds in self.seconds.items()})
        return self.seconds

    def _know(self, stage: str) -> None:
        self._shares.setdefault(stage, self._learned.get(stage, SHARES.get(stage, OTHER_SHARE)))

    def _switch(self, stage: str | None) -> None:
        now = self._clock()
        if self._current is not None:
            self.seconds[self._current] = self.seconds.get(self._current, 0.0) + now - self._switched_at
        self._current, self._switched_at = stage, now
