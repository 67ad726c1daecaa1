"""What a job cost, as it is told; without the library of the database, which the front imports later."""

from __future__ import annotations

from dataclasses import dataclass

from services.queue.job import Job


@dataclass(frozen=True)
class Cost:
    gpu_seconds: float
    dollars: float | None  # None: nobody said what the box costs


def of(job: Job) -> Cost | None:
    """Of the attempts that have ended; None before the first one has."""
    if job.gpu_seconds is None:
        return None
    return Cost(round(job.gpu_seconds, 3), None if job.dollars is None else round(job.dollars, 6))
