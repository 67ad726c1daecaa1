"""The queue's verbs. A lease says who works on a job, a growing token which attempt counts.

Order: higher priority, then jobs whose turn was interrupted, then the owner who waited longest since
being served, then age. Every method is one transaction, may be called from any thread, and raises
``DatabaseDown`` when the database does not answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, and_, delete, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from services.queue import idempotency, rows
from services.queue.announcements import Announcements
from services.queue.database import Database
from services.queue.job import (
    LEASE_SECONDS,
    MAX_ATTEMPTS,
    UNFINISHED,
    Abilities,
    Job,
    NewJob,
    NotFound,
    Once,
    QueueFull,
)
from services.queue.pause import Pause
from services.queue.table import jobs

PART = 1000


class Queue:
    def __init__(
        self, url: str, *, lease_seconds: float = LEASE_SECONDS, clock: Callable[[], float] = time.time
    ) -> None:
        self._database = Database(url)
        self._reading, self._writing = self._database.reading, self._database.writing
        self.announcements = Announcements(self._database, clock)
        self.pause = Pause(self._database)
        self._lease_seconds = lease_seconds
        self._clock = clock

    def close(self) -> None:
        self._database.close()

    # -- for clients -------------------------------------------------------------------------------

    def enqueue(self, new: NewJob, *, max_queued: int, once: Once | None = None) -> tuple[Job, bool]:
        """Keep a job. Returns it and whether it is new: a known idempotency key gives the job it made.

        Raises ``QueueFull`` or ``KeyReused``.
        """
        (job,), is_new = self.enqueue_all([new], max_queued=max_queued, once=once)
        return job, is_new

    def enqueue_all(
        self, new: Sequence[NewJob], *, max_queued: int, once: Once | None = None
    ) -> tuple[list[Job], bool]:
        """All of them, in this order, or none; as ``enqueue``."""
        try:
            with self._writing() as connection:
                known = None if once is None else idempotency.made(connection, once)
                if known is not None:
                    return known, False
                queued = connection.scalar(rows.count(jobs.c.status == "queued")) or 0
                if queued + len(new) > max_queued:
                    raise QueueFull(queued)
                found = [rows.of(each, self._clock()) for each in new]
                for row in found:
                    connection.execute(insert(jobs).values(**row))
                if once is not None:
                    idempotency.keep(connection, once, found)
                return [rows.one(connection, each.id) for each in new], True
        except IntegrityError:  # another front kept the same key between our look and our insert
            known = None if once is None else self.made_before(once)
            if known is None:
                raise
            return known, False

    def made_before(self, once: Once) -> list[Job] | None:
        """What this request made, deleted jobs as failed ones; None: nothing yet. Raises ``KeyReused``."""
        with self._reading() as connection:
            return idempotency.made(connection, once)

    def get(self, job_id: str) -> Job | None:
        with self._reading() as connection:
            return rows.first(connection, jobs.c.id == job_id)

    def page(
        self, *, after: str | None = None, limit: int = 20, order: Literal["asc", "desc"] = "desc"
    ) -> tuple[list[Job], bool]:
        """Jobs by age, those after ``after``, and whether there are more. Raises ``NotFound``."""
        number = jobs.c.number
        query = select(jobs).order_by(number.asc() if order == "asc" else number.desc()).limit(limit + 1)
        with self._reading() as connection:
            if after is not None:
                start = connection.scalar(select(number).where(jobs.c.id == after))
                if start is None:
                    raise NotFound(after)
                query = query.where(number > start if order == "asc" else number < start)
            found = [rows.job_of(row) for row in connection.execute(query).mappings()]
        return found[:limit], len(found) > limit

    def cancel(self, job_id: str) -> Job:
        """A queued job ends now; a running one with its worker's next beat. Raises ``NotFound``."""
        now = self._clock()
        this = jobs.c.id == job_id
        with self._writing() as connection:
            ended = update(jobs).where(this, jobs.c.status == "queued").values(**rows.cancelled(now))
            if not connection.execute(ended).rowcount:
                running = update(jobs).where(this, jobs.c.status == "in_progress")
                connection.execute(running.values(cancel_requested=True))
            return rows.one(connection, job_id)

    def delete(self, job_id: str) -> None:
        """Forget a job in any state: its worker, if any, finds the lease lost. Raises ``NotFound``."""
        with self._writing() as connection:
            if not connection.execute(delete(jobs).where(jobs.c.id == job_id)).rowcount:
                raise NotFound(job_id)

    # -- for workers -------------------------------------------------------------------------------

    def claim(self, worker: str, can: Abilities) -> Job | None:
        """The next job that this worker can make, leased to it, or None.

        A worker does one job at a time: what it still holds, from before it died, is taken back first.
        """
        now = self._clock()
        with self._writing() as connection:
            self._take_back(connection, now, jobs.c.worker == worker)
            number = connection.scalar(rows.next_number(can))
            if number is None:
                return None
            leased = {
                "status": "in_progress",
                "worker": worker,
                "token": jobs.c.token + 1,
                "attempts": jobs.c.attempts + 1,
                "lease_until": now + self._lease_seconds,
                "started_at": now,
            }
            connection.execute(update(jobs).where(jobs.c.number == number).values(**leased))
            return rows.first(connection, jobs.c.number == number)

    def holder(self, job_id: str, token: int) -> Job | None:
        """The job, if the attempt with this token still holds it."""
        with self._reading() as connection:
            return rows.first(connection, rows.held(job_id, token))

    def beat(
        self,
        job_id: str,
        token: int,
        *,
        progress: float | None = None,
        stage: str | None = None,
        eta_seconds: float | None = None,
    ) -> Job | None:
        """Renew the lease and note the progress (0 to 1). None: the lease is lost, stop."""
        values: dict[str, Any] = {
            "lease_until": self._clock() + self._lease_seconds,
            "eta_seconds": eta_seconds,
        }
        if progress is not None:
            values["progress"] = min(max(progress, 0.0), 1.0)
        if stage is not None:
            values["stage"] = stage
        return self._change(rows.held(job_id, token), job_id, values, may_be_lost=True)

    def complete(self, job_id: str, token: int, *, content_name: str, metadata: dict[str, Any]) -> bool:
        values = {"status": "completed", "progress": 1.0, "content_name": content_name, "metadata": metadata}
        return self._finish(job_id, token, values)

    def fail(self, job_id: str, token: int, *, code: str, message: str, metadata: dict[str, Any]) -> bool:
        values = {"status": "failed", "error_code": code, "error_message": message, "metadata": metadata}
        return self._finish(job_id, token, values)

    def release(self, job_id: str, token: int) -> bool:
        """Back into the queue, at the old place; this attempt does not count. A cancelled one ends."""
        held = rows.held(job_id, token)
        back = rows.requeued() | {"attempts": jobs.c.attempts - 1}
        with self._writing() as connection:
            ended = update(jobs).where(held, jobs.c.cancel_requested).values(**rows.cancelled(self._clock()))
            if connection.execute(ended).rowcount:
                return True
            return bool(connection.execute(update(jobs).where(held).values(**back)).rowcount)

    # -- for the copies outside of the box ----------------------------------------------------------

    def uncopied(self) -> list[Job]:
        """Finished clips that are nowhere else yet, oldest first."""
        left = and_(jobs.c.status == "completed", jobs.c.copied_to.is_(None))
        with self._reading() as connection:
            found = connection.execute(select(jobs).where(left).order_by(jobs.c.number))
            return [rows.job_of(row) for row in found.mappings()]

    def mark_copied(self, job_id: str, address: str) -> None:
        with self._writing() as connection:
            connection.execute(update(jobs).where(jobs.c.id == job_id).values(copied_to=address))

    # -- upkeep ------------------------------------------------------------------------------------

    def take_back(self) -> int:
        """Put jobs whose lease ran out back, or end them; how many."""
        with self._writing() as connection:
            return self._take_back(connection, self._clock())

    def next_lease_end(self) -> float | None:
        """When the first of the running leases ends, in seconds since the epoch; None when there is none."""
        with self._reading() as connection:
            first = select(func.min(jobs.c.lease_until)).where(jobs.c.status == "in_progress")
            found: float | None = connection.scalar(first)
        return found

    def grant_grace(self) -> None:
        """Renew every running lease once: while the front was away no worker could beat."""
        until = self._clock() + self._lease_seconds
        running = and_(jobs.c.status == "in_progress", jobs.c.lease_until < until)
        with self._writing() as connection:
            connection.execute(update(jobs).where(running).values(lease_until=until))

    def ended(self, *, before: float, only_copied: bool = False) -> list[str]:
        """The ids of jobs that ended before this time; ``only_copied``: no clip that is nowhere else."""
        old = and_(jobs.c.status.not_in(UNFINISHED), jobs.c.completed_at < before)
        if only_copied:
            old = and_(old, or_(jobs.c.status == "failed", jobs.c.copied_to.is_not(None)))
        with self._reading() as connection:
            return list(connection.scalars(select(jobs.c.id).where(old)))

    def forget(self, ids: Iterable[str]) -> None:
        """Those of the ids that are there are not any more."""
        for part in _parts(ids):
            with self._writing() as connection:
                connection.execute(delete(jobs).where(jobs.c.id.in_(part)))

    def missing(self, ids: Iterable[str]) -> set[str]:
        """Those of the ids that no job has."""
        unknown = set(ids)
        for part in _parts(unknown.copy()):
            with self._reading() as connection:
                unknown.difference_update(connection.scalars(select(jobs.c.id).where(jobs.c.id.in_(part))))
        return unknown

    # -- figures -----------------------------------------------------------------------------------

    def counts(self) -> dict[str, int]:
        """How many jobs are in each status."""
        query = select(jobs.c.status, func.count()).group_by(jobs.c.status)
        with self._reading() as connection:
            found = {status: int(number) for status, number in connection.execute(query)}
        return {status: found.get(status, 0) for status in ("queued", "in_progress", "completed", "failed")}

    def ahead(self, job: Job) -> int:
        """How many queued jobs stand before this one (fairness between owners may still reorder them)."""
        better = jobs.c.priority > job.priority
        older = and_(jobs.c.priority == job.priority, jobs.c.number < job.number)
        with self._reading() as connection:
            return (
                connection.scalar(
                    rows.count(jobs.c.status == "queued", jobs.c.model == job.model, better | older)
                )
                or 0
            )

    def typical_seconds(self, model: str) -> float | None:
        """The mean time of this model's last 20 finished clips; None before the first."""
        latest = (
            select((jobs.c.completed_at - jobs.c.started_at).label("seconds"))
            .where(jobs.c.status == "completed", jobs.c.model == model)
            .order_by(jobs.c.completed_at.desc())
            .limit(20)
            .subquery()
        )
        with self._reading() as connection:
            return connection.scalar(select(func.avg(latest.c.seconds)))

    # -- parts -------------------------------------------------------------------------------------

    def _take_back(self, connection: Connection, now: float, also: ColumnElement[bool] | None = None) -> int:
        over = jobs.c.lease_until < now
        lost = and_(jobs.c.status == "in_progress", over if also is None else over | also)
        ends = [
            update(jobs).where(lost, jobs.c.cancel_requested).values(**rows.cancelled(now)),
            update(jobs).where(lost, jobs.c.attempts >= MAX_ATTEMPTS).values(**rows.lost(now)),
            update(jobs).where(lost).values(**rows.requeued()),
        ]
        return sum(connection.execute(end).rowcount for end in ends)

    def _finish(self, job_id: str, token: int, values: dict[str, Any]) -> bool:
        values = values | rows.unleased() | {"completed_at": self._clock()}
        return self._change(rows.held(job_id, token), job_id, values) is not None

    def _change(
        self, where: ColumnElement[bool], job_id: str, values: dict[str, Any], *, may_be_lost: bool = False
    ) -> Job | None:
        with self._writing(may_be_lost=may_be_lost) as connection:
            if not connection.execute(update(jobs).where(where).values(**values)).rowcount:
                return None
            return rows.one(connection, job_id)


def _parts(ids: Iterable[str]) -> Iterator[list[str]]:
    """A statement takes so many values and no more."""
    left = sorted(ids)
    return (left[start : start + PART] for start in range(0, len(left), PART))
