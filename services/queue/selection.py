"""Some jobs of the queue, picked by what an operator knows of them, and how it all stands.

Without the database's library: the front imports this, and answers before that is there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from services.queue.job import Job, Status


@dataclass(frozen=True)
class Selection:
    """Of several conditions all must hold. ``older_than_seconds``: since it was made, or ended if it has."""

    statuses: tuple[Status, ...] = get_args(Status)
    owner: str | None = None
    model: str | None = None
    older_than_seconds: float | None = None
    only_copied: bool = False  # leave out clips that are nowhere else yet


@dataclass(frozen=True)
class Standing:
    """How it all stands at one moment."""

    counts: dict[str, int]  # jobs by status
    oldest_queued_seconds: float  # 0 when nothing waits
    deliveries: dict[str, int]  # webhook messages by state
    paused: bool


class NotFailed(Exception):
    """Only a job that failed, or was cancelled, is tried again."""

    def __init__(self, job: Job) -> None:
        super().__init__(f"{job.id} is {job.status}")
        self.job = job
