"""Slows down an address that tries wrong tokens; the right one is never delayed."""

from __future__ import annotations

import math
from collections.abc import Callable


class LoginThrottle:
    """Counts the wrong tokens of each address; the count falls as the time passes."""

    FREE = 5  # wrong tokens without a wait
    STEP_SECONDS = 0.25
    MOST_SECONDS = 2.0
    REFUSED = 60  # more are refused, until the count has fallen
    FALLS_PER_SECOND = 0.25
    ADDRESSES = 10_000

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._wrong: dict[str, tuple[float, float]] = {}  # address -> count, when

    def count(self, address: str) -> float | None:
        """Count a wrong token: seconds that its answer waits, None when there were far too many."""
        if len(self._wrong) > self.ADDRESSES:
            self._forget()
        wrong = math.ceil(self._now(address))
        if self._now(address) > self.REFUSED - 1:
            return None
        self._wrong[address] = self._now(address) + 1, self._clock()
        return min(max(wrong + 1 - self.FREE, 0) * self.STEP_SECONDS, self.MOST_SECONDS)

    def _now(self, address: str) -> float:
        wrong, at = self._wrong.get(address, (0.0, 0.0))
        return max(0.0, wrong - (self._clock() - at) * self.FALLS_PER_SECOND)

    def _forget(self) -> None:
        """Those whose count has fallen to nothing; all, when that is not enough."""
        self._wrong = {name: counted for name, counted in self._wrong.items() if self._now(name) > 0}
        if len(self._wrong) > self.ADDRESSES:
            self._wrong = {}
