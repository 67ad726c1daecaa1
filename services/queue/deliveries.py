"""Webhooks: which messages jobs owe, and what became of each. Every method is one transaction.

A message is written once for each job and event, and is tried until it is delivered or given up. A try takes
a lease on it: one that is cut off by a crash is tried again when the lease ends.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from services.queue import rows
from services.queue.database import Database
from services.queue.delivery import Delivery, End, NewDelivery
from services.queue.job import Job
from services.queue.table import deliveries, jobs, now

KEEP_SECONDS = 30 * 24 * 3600.0  # messages that ended
MOST_OWING = 100  # jobs at a time


class Deliveries:
    def __init__(self, database: Database) -> None:
        self._reading, self._writing = database.reading, database.writing

    # -- what is owed --------------------------------------------------------------------------------

    def owing(self) -> tuple[list[Job], bool]:
        """Jobs of whose status nobody is told yet, and whether any job may still have something to tell."""
        may_tell = jobs.c.webhook_told >= ""
        is_new = select(jobs).where(may_tell, jobs.c.webhook_told != jobs.c.status).order_by(jobs.c.number)
        with self._reading() as connection:
            new = [rows.job_of(row) for row in connection.execute(is_new.limit(MOST_OWING)).mappings()]
            is_any = connection.scalar(select(jobs.c.number).where(may_tell).limit(1)) is not None
            return new, is_any

    def write(self, job: Job, owed: Iterable[NewDelivery]) -> None:
        """Keep the messages of a job's status; those that were kept before stay as they are."""
        told = None if job.finished else job.status
        with self._writing() as connection:
            this = jobs.c.id == job.id
            connection.execute(update(jobs).where(this).values(webhook_told=told))
            at = connection.scalar(select(now(connection)))
            known = set(
                connection.scalars(select(deliveries.c.event).where(deliveries.c.job_id == job.id)).all()
            )
            for each in owed:
                if each.event not in known:
                    row = {**each.__dict__, "job_id": job.id, "state": "waiting", "attempts": 0}
                    connection.execute(insert(deliveries).values(**row, created_at=at, due_at=at))
                    _tell(connection, job.id, {"event": each.event, "state": "waiting", "attempts": 0})
            ended = deliveries.c.state.in_(("delivered", "failed"))
            old = deliveries.c.due_at < now(connection) - KEEP_SECONDS
            connection.execute(delete(deliveries).where(ended, old))

    # -- tries ---------------------------------------------------------------------------------------

    def due(self, *, limit: int, but_not: Collection[str] = ()) -> list[Delivery]:
        """Messages to be tried now, the longest due first; none of the hosts ``but_not``."""
        with self._reading() as connection:
            at = connection.scalar(select(now(connection)))
            query = (
                select(deliveries)
                .where(deliveries.c.state == "waiting", deliveries.c.due_at <= at)
                .where(deliveries.c.host.not_in(but_not))
                .order_by(deliveries.c.due_at)
                .limit(limit)
            )
            return [_delivery(row, at) for row in connection.execute(query).mappings()]

    def take(self, number: int, *, lease_seconds: float) -> bool:
        """Begin a try; False when another front has begun it."""
        with self._writing() as connection:
            at = now(connection)
            taken = (
                update(deliveries)
                .where(deliveries.c.number == number, deliveries.c.state == "waiting")
                .where(deliveries.c.due_at <= at)
                .values(due_at=at + lease_seconds, attempts=deliveries.c.attempts + 1)
            )
            return bool(connection.execute(taken).rowcount)

    def seconds_to_next(self, *, but_not: Collection[str] = ()) -> float | None:
        """Until the next message is due; None where none waits."""
        waiting = deliveries.c.state == "waiting"
        with self._reading() as connection:
            left = select(func.min(deliveries.c.due_at) - now(connection))
            found: float | None = connection.scalar(left.where(waiting, deliveries.c.host.not_in(but_not)))
        return found

    def end(self, number: int, state: End, status: int | None, error: str | None) -> None:
        self._change(number, status, error, lambda connection: {"state": state, "due_at": now(connection)})

    def retry(self, number: int, pause_seconds: float, status: int | None, error: str | None) -> None:
        self._change(number, status, error, lambda connection: {"due_at": now(connection) + pause_seconds})

    def again(self, job_id: str) -> dict[str, Any] | None:
        """Send the job's latest message once more, from the first try on; its new state, None without one."""
        with self._writing() as connection:
            latest = select(func.max(deliveries.c.number)).where(deliveries.c.job_id == job_id)
            number = connection.scalar(latest)
            if number is None:
                return None
            at = now(connection)
            fresh = {"state": "waiting", "attempts": 0, "created_at": at, "due_at": at}
            connection.execute(update(deliveries).where(deliveries.c.number == number).values(**fresh))
            return _told(connection, number)

    def _change(self, number: int, status: int | None, error: str | None, values: Any) -> None:
        with self._writing() as connection:
            new = {**values(connection), "last_status": status, "last_error": error}
            connection.execute(update(deliveries).where(deliveries.c.number == number).values(**new))
            _told(connection, number)


def _told(connection: Connection, number: int) -> dict[str, Any] | None:
    """Copy the state of a message to its job, where a client reads it."""
    row = connection.execute(select(deliveries).where(deliveries.c.number == number)).mappings().first()
    if row is None:
        return None
    names = ("event", "state", "attempts", "last_status", "last_error")
    state = {name: row[name] for name in names}
    _tell(connection, row["job_id"], state)
    return state


def _tell(connection: Connection, job_id: str, state: dict[str, Any]) -> None:
    state = {"last_status": None, "last_error": None} | state
    connection.execute(update(jobs).where(jobs.c.id == job_id).values(webhook_state=state))


def _delivery(row: Any, at: float | None) -> Delivery:
    names = ("number", "id", "job_id", "url", "host", "body", "attempts")
    return Delivery(**{name: row[name] for name in names}, age_seconds=(at or 0.0) - row["created_at"])
