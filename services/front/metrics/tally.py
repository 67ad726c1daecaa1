"""What happened since the front's start, counted in memory. ``metrics.py`` tells it to who asks."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from services.queue.job import Job

REQUEST_BOUNDS = (0.005, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0)  # seconds
CLIP_BOUNDS = (1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 640.0, 1800.0)


@dataclass
class Distribution:
    """How many values were at most so large."""

    bounds: Sequence[float]
    counts: Counter[int] = field(default_factory=Counter)
    total: float = 0.0

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def buckets(self) -> list[tuple[str, float]]:
        """As Prometheus wants them: each bound with all that is not larger."""
        labels = [*(f"{bound:g}" for bound in self.bounds), "+Inf"]
        so_far, found = 0, []
        for place, label in enumerate(labels):
            so_far += self.counts[place]
            found.append((label, float(so_far)))
        return found


class Tally:
    """Labels have few values: never an id, a user or an address."""

    def __init__(self) -> None:
        self._lock = Lock()
        self.requests: Counter[tuple[str, str, str]] = Counter()  # method, route, status
        self.request_seconds: dict[tuple[str, str], Distribution] = defaultdict(
            lambda: Distribution(REQUEST_BOUNDS)
        )
        self.refusals: Counter[str] = Counter()  # by code
        self.open_streams = 0
        self.created: Counter[str] = Counter()  # by model
        self.ended: Counter[tuple[str, str]] = Counter()  # model, how
        self.clip_seconds: dict[str, Distribution] = defaultdict(lambda: Distribution(CLIP_BOUNDS))
        self.stage_seconds: dict[tuple[str, str], Distribution] = defaultdict(
            lambda: Distribution(CLIP_BOUNDS)
        )
        self.gpu_seconds: dict[str, float] = defaultdict(float)
        self.dollars: dict[str, float] = defaultdict(float)

    def answered(self, method: str, route: str, status: int, seconds: float, code: str | None) -> None:
        with self._lock:
            self.requests[method, route, str(status)] += 1
            self.request_seconds[method, route].add(seconds)
            if code is not None:
                self.refusals[code] += 1

    def stream(self, change: int) -> None:
        with self._lock:
            self.open_streams += change

    def make(self, model: str) -> None:
        with self._lock:
            self.created[model] += 1

    def end(self, job: Job) -> None:
        """An attempt that a worker has finished, well or not."""
        how = "completed" if job.status == "completed" else job.error_code or "failed"
        seconds = max(0.0, (job.completed_at or 0.0) - (job.started_at or job.completed_at or 0.0))
        with self._lock:
            self.ended[job.model, how] += 1
            self.gpu_seconds[job.model] += seconds * (job.gpus or 1)
            self.dollars[job.model] += seconds * (job.hourly_cost or 0.0) / 3600
            if job.status == "completed":
                self.clip_seconds[job.model].add(seconds)
                for stage, took in _stages(job.metadata).items():
                    self.stage_seconds[job.model, stage].add(took)


def _stages(metadata: Mapping[str, Any]) -> dict[str, float]:
    """Of ``<stage>_seconds`` in the clip's timings; ``total_seconds`` is no stage."""
    timings = metadata.get("timings")
    if not isinstance(timings, Mapping):
        return {}
    ending = "_seconds"
    return {
        name.removesuffix(ending): float(took)
        for name, took in timings.items()
        if name.endswith(ending) and name != "total_seconds" and isinstance(took, int | float)
    }
