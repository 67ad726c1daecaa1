"""Slows down an address that tries wrong tokens; the right one is never delayed."""

from __future__ import annotations

from collections.abc import Callable


class LoginThrottle:
    """Counts the wrong tokens of each address, from new in each minute."""

    FREE = 5  # wrong tokens a minute without a wait
    STEP_SECONDS = 0.25
    MOST_SECONDS = 2.0
    REFUSED = 60  # a minute; more are refused
    ADDRESSES = 10_000

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._minute = 0
        self._wrong: dict[str, int] = {}

    def count(self, address: str) -> float | None:
        """Count a wrong token: seconds that its answer waits, None when there were far too many."""
        minute = int(self._clock() // 60)
        if minute != self._minute or len(self._wrong) > self.ADDRESSES:
            self._minute, self._wrong = minute, {}
        wrong = self._wrong[address] = self._wrong.get(address, 0) + 1
        if wrong > self.REFUSED:
            return None
        return min(max(wrong - self.FREE, 0) * self.STEP_SECONDS, self.MOST_SECONDS)
