"""Ended jobs whose files may go, and those whose files are gone; the rows stay."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import or_, select, update

from services.queue.database import Database
from services.queue.job import UNFINISHED
from services.queue.table import jobs, now

MOST = 500  # at a time


class Expiry:
    def __init__(self, database: Database) -> None:
        self._reading, self._writing = database.reading, database.writing

    def ended(self, *, before: float, only_copied: bool, but_not: Iterable[str] = ()) -> list[str]:
        """The ids of jobs that ended before this time and still have their files, the oldest first.

        ``only_copied``: no clip that is nowhere else. ``but_not``: ids that are left out.
        """
        old = (
            select(jobs.c.id)
            .where(jobs.c.expired_at.is_(None), jobs.c.completed_at < before)
            .where(jobs.c.status.not_in(UNFINISHED), jobs.c.id.not_in(list(but_not)))
        )
        if only_copied:
            old = old.where(or_(jobs.c.status == "failed", jobs.c.copied_to.is_not(None)))
        with self._reading() as connection:
            return list(connection.scalars(old.order_by(jobs.c.completed_at, jobs.c.number).limit(MOST)))

    def expire(self, job_id: str) -> None:
        """Its files are gone."""
        with self._writing() as connection:
            this = update(jobs).where(jobs.c.id == job_id)
            connection.execute(this.values(expired_at=now(connection)))
