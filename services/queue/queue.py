"""The queue's verbs. A lease says who works on a job, a growing token which attempt counts.

``order.py`` says whose turn it is. Every method is one transaction, may be called from any thread, and raises
``DatabaseDown`` when the database does not answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, and_, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from services.queue import idempotency, lease_clock, rows, usage
from services.queue.announcements import Announcements
from services.queue.copies import Copies
from services.queue.database import Database
from services.queue.deliveries import Deliveries
from services.queue.expiry import Expiry
from services.queue.figures import Figures
from services.queue.job import (
    LEASE_SECONDS,
    Abilities,
    Allowance,
    Job,
    NewJob,
    NotFound,
    Once,
    QueueFull,
)
from services.queue.lease_clock import LeaseClock
from services.queue.leases import Leases
from services.queue.operations import Operations
from services.queue.pause import Pause
from services.queue.table import jobs
from services.queue.usage import Usage


class Queue(Figures):
    def __init__(
        self,
        url: str,
        *,
        lease_seconds: float = LEASE_SECONDS,
        clock: Callable[[], float] = time.time,
        leases_by: LeaseClock | None = None,
    ) -> None:
        """``clock`` tells what people read; leases end by ``leases_by``, else by the database's kind."""
        self._database = Database(url)
        super().__init__(self._database, clock)
        self._writing = self._database.writing
        self.announcements = Announcements(self._database, clock)
        self.operations = Operations(self._database, clock)
        self.pause = Pause(self._database)
        self.copies = Copies(self._database)
        self.usage = Usage(self._database, clock)
        self.deliveries = Deliveries(self._database)
        self.expiry = Expiry(self._database)
        self._leases = Leases(leases_by or lease_clock.of(url), seconds=lease_seconds, wall=clock)

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
        self,
        new: Sequence[NewJob],
        *,
        max_queued: int,
        once: Once | None = None,
        allowance: Allowance | None = None,
    ) -> tuple[list[Job], bool]:
        """All of them, in this order, or none; as ``enqueue``. Raises ``OverAllowance``, too."""
        try:
            with self._writing() as connection:
                known = None if once is None else idempotency.made(connection, once)
                if known is not None:
                    return known, False
                queued = connection.scalar(rows.count(jobs.c.status == "queued")) or 0
                if queued + len(new) > max_queued:
                    raise QueueFull(queued)
                now = self._clock()
                if allowance is not None:
                    usage.check(connection, allowance, len(new), now)
                found = [rows.of(each, now) for each in new]
                for each in new:
                    usage.charge(connection, each.key_id, now, clips=1)
                for each, row in zip(new, found, strict=True):
                    waits = self._leases.waits(connection, each.ttl_seconds)
                    connection.execute(insert(jobs).values(**row, **waits))
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

    def parts(self, parent: str) -> list[Job]:
        """The jobs that were asked for together, in their order."""
        query = select(jobs).where(jobs.c.parent == parent).order_by(jobs.c.number)
        with self._reading() as connection:
            return [rows.job_of(row) for row in connection.execute(query).mappings()]

    def page(
        self,
        *,
        after: str | None = None,
        limit: int = 20,
        order: Literal["asc", "desc"] = "desc",
        key_id: str | None = None,
    ) -> tuple[list[Job], bool]:
        """Jobs by age, those after ``after``, and whether there are more. Raises ``NotFound``.

        ``key_id``: only the jobs of this key.
        """
        number = jobs.c.number
        query = select(jobs).order_by(number.asc() if order == "asc" else number.desc()).limit(limit + 1)
        if key_id is not None:
            query = query.where(jobs.c.key_id == key_id)
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
        this = jobs.c.id == job_id
        with self._writing() as connection:
            self._charge_attempt(connection, and_(this, jobs.c.status == "in_progress"))
            if not connection.execute(delete(jobs).where(this)).rowcount:
                raise NotFound(job_id)

    # -- for workers -------------------------------------------------------------------------------

    def claim(self, worker: str, can: Abilities) -> Job | None:
        """The next job that this worker can make, leased to it, or None.

        A worker does one job at a time: what it still holds, from before it died, is taken back first.
        """
        with self._writing() as connection:
            self._forgive(connection)
            return self._leases.grant(connection, worker, can)

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
        """Renew the lease and note the progress (0 to 1). None: the lease is lost, stop.

        One that ran out is given again while nobody else has the job.
        """
        ends_at = None if eta_seconds is None else self._clock() + eta_seconds
        values: dict[str, Any] = {"eta_seconds": eta_seconds, "ends_at": ends_at}
        if progress is not None:
            values["progress"] = min(max(progress, 0.0), 1.0)
        if stage is not None:
            values["stage"] = stage
        with self._writing(may_be_lost=True) as connection:
            return self._leases.renew(connection, job_id, token, values)

    def complete(self, job_id: str, token: int, *, content_name: str, metadata: dict[str, Any]) -> bool:
        values = {"status": "completed", "progress": 1.0, "content_name": content_name, "metadata": metadata}
        return self._finish(job_id, token, values)

    def fail(self, job_id: str, token: int, *, code: str, message: str, metadata: dict[str, Any]) -> bool:
        values = {"status": "failed", "error_code": code, "error_message": message, "metadata": metadata}
        return self._finish(job_id, token, values)

    def release(self, job_id: str, token: int) -> bool:
        """Back into the queue, at the old place; this attempt does not count. A cancelled one ends."""
        with self._writing() as connection:
            return self._leases.release(connection, job_id, token)

    def bury(self, job_id: str, token: int, *, reason: str) -> bool:
        """The GPU child died while it made this job: it runs once more, then it fails with the reason."""
        with self._writing() as connection:
            return self._leases.bury(connection, job_id, token, reason)

    # -- upkeep ------------------------------------------------------------------------------------

    def take_back(self) -> int:
        """Put jobs whose lease ran out back, end those that waited too long; how many."""
        with self._writing() as connection:
            self._forgive(connection)
            return self._leases.take_back(connection)

    def left_seconds(self) -> float | None:
        """Until the first lease or patience ends; None when there is none."""
        with self._reading() as connection:
            return self._leases.left_seconds(connection)

    def grant_grace(self) -> None:
        """Renew every running lease once: while the front was away no worker could beat."""
        with self._writing() as connection:
            self._leases.give_grace(connection)

    def forget(self, ids: Iterable[str]) -> None:
        """Those of the ids that are there are not any more."""
        for part in rows.parts(ids):
            with self._writing() as connection:
                connection.execute(delete(jobs).where(jobs.c.id.in_(part)))

    def missing(self, ids: Iterable[str]) -> set[str]:
        """Those of the ids that no job has."""
        unknown = set(ids)
        for part in rows.parts(unknown.copy()):
            with self._reading() as connection:
                unknown.difference_update(connection.scalars(select(jobs.c.id).where(jobs.c.id.in_(part))))
        return unknown

    def spent_dollars(self, *, since: float) -> float:
        """What the jobs that have ended since then, and are still kept, cost."""
        query = select(func.sum(jobs.c.dollars)).where(jobs.c.completed_at >= since)
        with self._reading() as connection:
            return float(connection.scalar(query) or 0.0)

    # -- parts -------------------------------------------------------------------------------------

    def _forgive(self, connection: Connection) -> None:
        """After an outage of the database: the first one back must not end what could not be renewed."""
        if self._database.outage_ended():
            self._leases.give_grace(connection)

    def _finish(self, job_id: str, token: int, values: dict[str, Any]) -> bool:
        now = self._clock()
        values = values | rows.unleased(now) | {"completed_at": now}
        with self._writing() as connection:
            self._charge_attempt(connection, rows.held(job_id, token))
            ended = update(jobs).where(rows.held(job_id, token)).values(**values)
            return bool(connection.execute(ended).rowcount)

    def _charge_attempt(self, connection: Connection, where: ColumnElement[bool]) -> None:
        """The time of an attempt that ends now, to the key that asked for it; one that was lost is free."""
        found = connection.execute(select(jobs.c.key_id, jobs.c.started_at).where(where)).first()
        if found is not None and found.started_at is not None:
            now = self._clock()
            usage.charge(connection, found.key_id, now, gpu_seconds=max(0.0, now - found.started_at))
