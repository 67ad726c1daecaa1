"""Finished clips that are to be copied out of the box, and what became of it.

Every method is one transaction. A copy takes a lease on its clip: one that is cut off by a crash begins again
when the lease ends.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, and_, func, or_, select, update

from services.queue import rows
from services.queue.database import Database
from services.queue.job import Job
from services.queue.table import jobs, now

LEFT = and_(
    jobs.c.status == "completed",
    jobs.c.copied_to.is_(None),
    jobs.c.expired_at.is_(None),  # of before there was a place to copy to
)


class Copies:
    def __init__(self, database: Database) -> None:
        self._reading, self._writing = database.reading, database.writing

    def restart(self) -> None:
        """Nothing is under way, what waits is tried now: for a front that has the queue for itself."""
        with self._writing() as connection:
            connection.execute(update(jobs).where(LEFT).values(copy_due_at=None))

    def due(self, limit: int) -> list[Job]:
        """Clips to be copied now, oldest first."""
        with self._reading() as connection:
            is_due = or_(jobs.c.copy_due_at.is_(None), jobs.c.copy_due_at <= now(connection))
            found = connection.execute(select(jobs).where(LEFT, is_due).order_by(jobs.c.number).limit(limit))
            return [rows.job_of(row) for row in found.mappings()]

    def waiting(self) -> int:
        with self._reading() as connection:
            return _waiting(connection)

    def seconds_to_next(self) -> float | None:
        """Until the next try; None where no clip waits."""
        with self._reading() as connection:
            first = select(func.min(func.coalesce(jobs.c.copy_due_at, 0.0)) - now(connection)).where(LEFT)
            found: float | None = connection.scalar(first)
        return found

    def take(self, job: Job, *, lease_seconds: float) -> int | None:
        """Begin a try; its number, None when another front has begun it."""
        attempts = (job.copy_state or {}).get("attempts", 0) + 1
        with self._writing() as connection:
            is_due = or_(jobs.c.copy_due_at.is_(None), jobs.c.copy_due_at <= now(connection))
            state = {"state": "copying", "attempts": attempts}
            taken = update(jobs).where(jobs.c.id == job.id, LEFT, is_due)
            values = {"copy_due_at": now(connection) + lease_seconds, "copy_state": state}
            return attempts if connection.execute(taken.values(**values)).rowcount else None

    def keep(self, job_id: str, address: str, state: dict[str, Any]) -> int:
        """It lies there now; how many still wait."""
        with self._writing() as connection:
            this = update(jobs).where(jobs.c.id == job_id)
            connection.execute(this.values(copied_to=address, copy_due_at=None, copy_state=state))
            return _waiting(connection)

    def retry(self, job_id: str, state: dict[str, Any], *, pause_seconds: float) -> None:
        with self._writing() as connection:
            this = update(jobs).where(jobs.c.id == job_id)
            connection.execute(this.values(copy_due_at=now(connection) + pause_seconds, copy_state=state))

    def sign(self, job_id: str, state: dict[str, Any]) -> None:
        """Keep a new link to the copy."""
        with self._writing() as connection:
            connection.execute(update(jobs).where(jobs.c.id == job_id).values(copy_state=state))


def _waiting(connection: Connection) -> int:
    return connection.scalar(rows.count(LEFT)) or 0
