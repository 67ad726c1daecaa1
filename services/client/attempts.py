"""When a request is sent again: the service or the way to it was away, or it asks to come later."""

from __future__ import annotations

import time

import httpx

AGAIN = (408, 429, 502, 503, 504)
IN_PROGRESS = "idempotency_in_progress"
FIRST_SECONDS, LONGEST_SECONDS = 0.3, 8.0


class Attempts:
    """Of one request, which may be repeated for ``patience_seconds``; also because the queue is full."""

    def __init__(self, patience_seconds: float, *, waits_for_room: bool = True) -> None:
        self._waits_for_room = waits_for_room
        self._until = time.monotonic() + patience_seconds
        self._next = FIRST_SECONDS

    def wait_seconds(self, outcome: httpx.Response | httpx.TransportError) -> float | None:
        """How long to wait before the next attempt; None when there is none."""
        asked = None
        if isinstance(outcome, httpx.Response):
            if outcome.status_code == 429 and not self._waits_for_room:
                return None
            if not _may_be_repeated(outcome):
                return None
            asked = _retry_after(outcome)
        wait = self._next if asked is None else asked
        self._next = min(self._next * 2, LONGEST_SECONDS)
        return wait if time.monotonic() + wait < self._until else None


def _may_be_repeated(answer: httpx.Response) -> bool:
    if answer.headers.get("x-should-retry") == "false":
        return False
    if answer.status_code == 409:
        return IN_PROGRESS in answer.text
    return answer.status_code in AGAIN


def _retry_after(answer: httpx.Response) -> float | None:
    value = answer.headers.get("retry-after", "")
    return float(value) if value.isdigit() else None
