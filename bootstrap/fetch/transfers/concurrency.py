"""How many connections: more while they raise the rate, fewer when the server asks for that."""

from __future__ import annotations

import os
import resource
from contextlib import suppress
from pathlib import Path

START = 8
MOST = 64
WINDOW_SECONDS = 0.1  # while the number doubles; later looks are longer, for a link that swings
LONG_WINDOW_SECONDS = 0.5
JOIN_SECONDS = 1.0  # for new connections to reach their usual rate
ALIKE = 0.85  # a rate of this share of the double counts as doubled
SPARE = 1.05  # connections that a full link keeps, in shares of those that reach its rate
GAIN = 1.08  # that a quarter more must bring; less is noise, and each connection costs processor time
PROBE_AGAIN_SECONDS = (3.0, 6.0, 8.0)


class Concurrency:
    """From the bytes that have arrived, how many connections there should be: ``target``.

    First it doubles the number while that doubles the rate. Then the link is full, and as many stay as reach
    that rate. From then on it tries a quarter more now and then. Before it gives up on more, it measures
    twice: one measurement may be a bad moment, and a wrong number costs more than a second measurement.
    """

    def __init__(self, most: int, *, fixed: int | None = None) -> None:
        self._most = max(1, fixed or most)
        self._fixed = fixed is not None
        self.target = self._most if self._fixed else min(START, self._most)
        self._since: tuple[float, int] | None = None
        self._changed_at: float | None = None
        self._before: tuple[float, int] | None = None  # the last rate that counted, and with how many
        self._window = WINDOW_SECONDS
        self._quiet_until = 0.0
        self._settled = 0  # times
        self._doubted = False

    @property
    def is_looking(self) -> bool:
        """Whether the link was not full yet: rates are then measured at short intervals."""
        return not self._fixed and not self._settled and self.target < self._most

    def observe(self, now: float, received: int, working: int) -> int:
        """The target after another measurement; ``working`` connections have their usual rate."""
        if self._fixed or now < self._quiet_until or received == 0:
            self._since = (now, received) if received else None
            return self.target
        self._changed_at = self._changed_at or now
        late = now - self._changed_at > JOIN_SECONDS
        if self._since is None or working < self.target * (0.75 if late else 1.0):
            # While some are still connecting, the step would look like a failure.
            self._since = (now, received)
            return self.target
        seconds = now - self._since[0]
        enough = received - self._since[1] >= 2 * 1024**2 * working
        if seconds < self._window or (not enough and seconds < 2.0):
            return self.target
        rate, before = (received - self._since[1]) / seconds, self.target
        self._since = (now, received)
        (self._probe if self._settled else self._double)(now, rate)
        if self.target != before:
            self._changed_at = now
        return self.target

    def _double(self, now: float, rate: float) -> None:
        before = self._before
        if before is None or rate / before[0] >= ALIKE * self.target / before[1]:
            self._grow(rate, self.target)
        elif not self._doubted:
            self._doubted = True
        else:
            each = before[0] / before[1]
            self._settle(now, max(before[1], min(self.target, round(SPARE * rate / each))))

    def _probe(self, now: float, rate: float) -> None:
        before = self._before
        if before is None or rate >= before[0] * GAIN:
            self._grow(rate, max(2, self.target // 4))
        elif not self._doubted:
            self._doubted = True
        else:
            self._settle(now, before[1])

    def _grow(self, rate: float, step: int) -> None:
        self._before, self._doubted = (rate, self.target), False
        self.target = min(self._most, self.target + step)

    def _settle(self, now: float, target: int) -> None:
        self.target = target
        self._window = LONG_WINDOW_SECONDS
        self._quiet_until = now + PROBE_AGAIN_SECONDS[min(self._settled, len(PROBE_AGAIN_SECONDS) - 1)]
        self._settled += 1
        self._before, self._doubted = None, False

    def slow_down(self, now: float, seconds: float) -> None:
        """The server answered 429 or 503: half as many, and no more for a while."""
        pause = PROBE_AGAIN_SECONDS[-1]
        if now < self._quiet_until - pause:
            return  # many connections got the same refusal at once
        self._settle(now, max(1, self.target // 2))
        self._quiet_until = now + max(seconds, 1.0) + pause

    def refused_thread(self, alive: int) -> None:
        """The box gives no more threads."""
        self._most = max(1, alive)
        self.target = min(self.target, self._most)


def most_connections() -> int:
    """What this box's limits of open files and processes leave for connections."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    most = min(MOST, max(4, (files - 64) // 3)) if files > 0 else MOST
    pids = _pids_left()
    return most if pids is None else max(2, min(most, pids // 2))


def _pids_left() -> int | None:
    for folder in ("/sys/fs/cgroup", "/sys/fs/cgroup/pids"):
        with suppress(OSError, ValueError):
            limit = int(Path(folder, "pids.max").read_text())  # "max" is a ValueError: no limit
            return limit - int(Path(folder, "pids.current").read_text())
    return None


def cores() -> int:
    """Cores that may hash at the same time."""
    return max(1, min(4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2))
