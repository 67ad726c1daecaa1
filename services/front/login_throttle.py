"""How often an address tried a wrong token."""

from __future__ import annotations

from collections.abc import Callable


class Guesses:
    """Slows down whoever tries tokens: the right one is never delayed."""

    FREE = 5  # mistakes a minute that cost nothing
    STEP_SECONDS = 0.25
    MOST_SECONDS = 2.0
    REFUSED = 60  # a minute; then not even looked at
    ADDRESSES = 10_000

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._minute = 0
        self._made: dict[str, int] = {}

    def count(self, address: str) -> float | None:
        """Seconds that this answer waits; None when there were far too many."""
        minute = int(self._clock() // 60)
        if minute != self._minute or len(self._made) > self.ADDRESSES:
            self._minute, self._made = minute, {}
        made = self._made[address] = self._made.get(address, 0) + 1
        if made > self.REFUSED:
            return None
        return min(max(made - self.FREE, 0) * self.STEP_SECONDS, self.MOST_SECONDS)
