"""Who works on which job, and for how long without a sign of life. All within the caller's transaction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, case, func, or_, select, update

from services.queue import charges, order, rows
from services.queue.job import MAX_DEATHS, MAX_INTERRUPTIONS, Abilities, Job
from services.queue.lease_clock import LeaseClock
from services.queue.table import jobs

RUNNING = jobs.c.status == "in_progress"
NEVER_STARTED = and_(jobs.c.status == "queued", jobs.c.token == 0)


class Leases:
    """Grants, renews and ends them. ``wall`` is the clock that people read."""

    def __init__(self, clock: LeaseClock, *, seconds: float, wall: Callable[[], float]) -> None:
        self._clock = clock
        self._seconds = seconds
        self._wall = wall
        self._ours = jobs.c.era == clock.era

    def waits(self, connection: Connection, ttl_seconds: float | None) -> dict[str, Any]:
        """What a new job's row says about how long it may wait."""
        until = None if ttl_seconds is None else self._clock.now(connection) + ttl_seconds
        return {"wait_until": until, "era": self._clock.era}

    def grant(self, connection: Connection, worker: str, can: Abilities) -> Job | None:
        """The next job that this worker can make. What it still holds, from before it died, is lost."""
        self.take_back(connection, jobs.c.worker == worker)
        number = order.next_number(connection, can)
        if number is None:
            return None
        leased = {
            "status": "in_progress",
            "worker": worker,
            "token": jobs.c.token + 1,
            "attempts": jobs.c.attempts + 1,
            "started_at": self._wall(),
        }
        leased |= self._term(connection) | charges.begun(can, self._wall())
        connection.execute(update(jobs).where(jobs.c.number == number).values(**leased))
        return rows.first(connection, jobs.c.number == number)

    def renew(self, connection: Connection, job_id: str, token: int, said: dict[str, Any]) -> Job | None:
        """Also of a job whose lease ran out, if nobody else has it yet: that was no interruption."""
        held = rows.held(job_id, token)
        back = {"status": "in_progress", "interruptions": jobs.c.interruptions - 1}
        connection.execute(update(jobs).where(held, jobs.c.status == "queued").values(**back))
        values = said | self._term(connection)
        if not connection.execute(update(jobs).where(held).values(**values)).rowcount:
            return None
        return rows.one(connection, job_id)

    def release(self, connection: Connection, job_id: str, token: int) -> bool:
        """Back to the old place; this attempt does not count. A cancelled one ends."""
        held = rows.held(job_id, token)
        back = rows.requeued(self._wall()) | {"attempts": jobs.c.attempts - 1}
        ends = [
            update(jobs).where(held, jobs.c.cancel_requested).values(**rows.cancelled(self._wall())),
            update(jobs).where(held).values(**back),
        ]
        return any(connection.execute(end).rowcount for end in ends)

    def bury(self, connection: Connection, job_id: str, token: int, reason: str) -> bool:
        """The GPU child died while it made this job: the job fails when that was not the first one."""
        held, now = rows.held(job_id, token), self._wall()
        poisoned = rows.poisoned(now, reason, MAX_DEATHS)
        ends = [
            update(jobs).where(held, jobs.c.cancel_requested).values(**rows.cancelled(now)),
            update(jobs).where(held, jobs.c.deaths + 1 >= MAX_DEATHS).values(**poisoned),
            update(jobs).where(held).values(**rows.requeued(now) | {"deaths": jobs.c.deaths + 1}),
        ]
        return any(connection.execute(end).rowcount for end in ends)

    def take_back(self, connection: Connection, also: ColumnElement[bool] | None = None) -> int:
        """End what ran out: leases, and the patience of those that wait; how many jobs."""
        clock, now = self._clock.now(connection), self._wall()
        over = and_(self._ours, jobs.c.lease_until < clock)
        lost = and_(RUNNING, over if also is None else or_(over, also))
        late = and_(NEVER_STARTED, self._ours, jobs.c.wait_until < clock)
        if not connection.scalar(
            select(select(jobs.c.number).where(late).exists() | select(jobs.c.number).where(lost).exists())
        ):
            return 0  # as nearly always: one look is cheaper than four changes of nothing
        ends = [
            update(jobs).where(late).values(**rows.expired(now)),
            update(jobs).where(lost, jobs.c.cancel_requested).values(**rows.cancelled(now)),
            update(jobs).where(lost, jobs.c.interruptions + 1 >= MAX_INTERRUPTIONS).values(**rows.lost(now)),
            update(jobs).where(lost).values(**rows.interrupted(now)),
        ]
        return sum(connection.execute(end).rowcount for end in ends)

    def give_grace(self, connection: Connection) -> None:
        """Every running lease begins anew: for a while no worker could beat. Times of another era end."""
        until = self._clock.now(connection) + self._seconds
        foreign = or_(jobs.c.era.is_(None), jobs.c.era != self._clock.era)
        short = and_(RUNNING, or_(foreign, jobs.c.lease_until < until))
        connection.execute(update(jobs).where(short).values(**self._term(connection)))
        left = jobs.c.ttl_seconds - (self._wall() - jobs.c.created_at)
        left = case((left < 0, 0.0), (left > jobs.c.ttl_seconds, jobs.c.ttl_seconds), else_=left)
        waits = {"wait_until": self._clock.now(connection) + left, "era": self._clock.era}
        connection.execute(update(jobs).where(NEVER_STARTED, foreign).values(**waits))

    def left_seconds(self, connection: Connection) -> float | None:
        """Until the next of them ends; None: nothing will."""
        ends = case((RUNNING, jobs.c.lease_until), else_=jobs.c.wait_until)
        first = select(func.min(ends) - self._clock.now(connection))
        found: float | None = connection.scalar(first.where(or_(RUNNING, NEVER_STARTED), self._ours))
        return found

    def _term(self, connection: Connection) -> dict[str, Any]:
        return {"lease_until": self._clock.now(connection) + self._seconds, "era": self._clock.era}
