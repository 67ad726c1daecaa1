"""How many requests a minute a key may send: a bucket that fills as the time passes."""

from __future__ import annotations

import time
from collections.abc import Callable


class Rates:
    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._left: dict[str, tuple[float, float]] = {}  # key -> requests left, when

    def wait_seconds(self, key_id: str, per_minute: float | None) -> float:
        """Take one request; 0 when there was one, else the seconds until the next."""
        if per_minute is None:
            return 0.0
        now, most, per_second = self._clock(), max(1.0, per_minute), per_minute / 60
        left, at = self._left.get(key_id, (most, now))
        left = min(most, left + (now - at) * per_second)
        self._left[key_id] = (left - 1 if left >= 1 else left), now
        return 0.0 if left >= 1 else (1 - left) / per_second
