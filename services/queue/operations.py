"""What is done with all jobs that an operator picks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    DefaultClause,
    and_,
    delete,
    func,
    literal_column,
    or_,
    select,
    update,
)

from services.queue import rows
from services.queue.database import Database
from services.queue.job import Job, NewJob, NotFound, QueueFull, Status
from services.queue.pause import PAUSED
from services.queue.selection import NotFailed, Selection, Standing
from services.queue.table import deliveries, flags, jobs

# What a second series of attempts keeps of a row; every other column begins again.
KEPT = frozenset(NewJob.__dataclass_fields__) | {
    *("number", "created_at", "idempotency_key", "fingerprint"),
    *("gpu_seconds", "dollars"),  # spent is spent
}


class Operations:
    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock

    def find(self, which: Selection, *, limit: int, after: str | None = None) -> tuple[list[Job], bool]:
        """The newest first, and whether there are more. Raises ``NotFound`` for an unknown ``after``."""
        query = select(jobs).where(self._where(which)).order_by(jobs.c.number.desc()).limit(limit + 1)
        with self._database.reading() as connection:
            if after is not None:
                start = connection.scalar(select(jobs.c.number).where(jobs.c.id == after))
                if start is None:
                    raise NotFound(after)
                query = query.where(jobs.c.number < start)
            found = [rows.job_of(row) for row in connection.execute(query).mappings()]
        return found[:limit], len(found) > limit

    def standing(self) -> Standing:
        queued = select(func.min(jobs.c.created_at)).where(jobs.c.status == "queued")
        paused = select(func.count()).select_from(flags).where(flags.c.name == PAUSED)
        with self._database.reading() as connection:
            counts = dict.fromkeys(get_args(Status), 0) | _numbers(connection, jobs.c.status)
            oldest = connection.scalar(queued)
            return Standing(
                counts=counts,
                oldest_queued_seconds=0.0 if oldest is None else max(0.0, self._clock() - oldest),
                deliveries=_numbers(connection, deliveries.c.state),
                paused=bool(connection.scalar(paused)),
            )

    def count(self, which: Selection) -> int:
        with self._database.reading() as connection:
            return int(connection.scalar(rows.count(self._where(which))) or 0)

    def purge(self, which: Selection) -> list[str]:
        """Forget them; whose files are nobody's now."""
        with self._database.writing() as connection:
            return list(connection.scalars(delete(jobs).where(self._where(which)).returning(jobs.c.id)))

    def retry(self, job_id: str, *, max_queued: int) -> Job:
        """Queue a failed job again: the same job, at its old place, with all its attempts still to come.

        Raises ``NotFound``, ``NotFailed`` or ``QueueFull``.
        """
        with self._database.writing() as connection:
            job = rows.one(connection, job_id)
            failed = and_(jobs.c.id == job_id, jobs.c.status == "failed")
            queued = connection.scalar(rows.count(jobs.c.status == "queued")) or 0
            if queued >= max_queued:
                raise QueueFull(queued)
            if not connection.execute(update(jobs).where(failed).values(**_begun_again(job))).rowcount:
                raise NotFailed(job)
            connection.execute(delete(deliveries).where(deliveries.c.job_id == job_id))
            return rows.one(connection, job_id)

    def _where(self, which: Selection) -> ColumnElement[bool]:
        conditions: list[ColumnElement[bool]] = [jobs.c.status.in_(which.statuses)]
        if which.owner is not None:
            conditions.append(jobs.c.owner == which.owner)
        if which.model is not None:
            conditions.append(jobs.c.model == which.model)
        if which.older_than_seconds is not None:
            since = func.coalesce(jobs.c.completed_at, jobs.c.created_at)
            conditions.append(since <= self._clock() - which.older_than_seconds)
        if which.only_copied:
            conditions.append(or_(jobs.c.status != "completed", jobs.c.copied_to.is_not(None)))
        return and_(*conditions)


def _numbers(connection: Connection, column: Column[str]) -> dict[str, int]:
    """How many rows have each value."""
    return {value: int(n) for value, n in connection.execute(select(column, func.count()).group_by(column))}


def _begun_again(job: Job) -> dict[str, object]:
    """As a new job's row, so that no column of the first series is forgotten, whoever added it."""
    blank = {column.name: _default(column) for column in jobs.columns if column.name not in KEPT}
    fresh = rows.of(NewJob(id=job.id, model=job.model, values=job.values), job.created_at)
    begun = {name: value for name, value in fresh.items() if name not in KEPT}
    # No attempt of the first series may still hand something in; who was told of its end is told anew.
    return {**blank, **begun, "token": jobs.c.token + 1, "webhook_told": "" if job.webhook else None}


def _default(column: Column[Any]) -> object:
    given = column.server_default
    return literal_column(f"'{given.arg}'") if isinstance(given, DefaultClause) else None
