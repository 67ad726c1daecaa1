"""What the queue is asked most: how many jobs there are, who waits, how long it takes. Reads only.

Each of these costs what waits and runs, not what was ever made (``table.py`` has the indexes).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sqlalchemy import Connection, and_, select

from services.queue import order, rows, work
from services.queue.database import Database
from services.queue.job import Job
from services.queue.line import Line, Running, Waiting
from services.queue.table import jobs
from services.queue.work import Pace, Sample


class Figures:
    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._reading = database.reading
        self._clock = clock

    def counts(self) -> dict[str, int]:
        """How many jobs are in each status."""
        few = ("queued", "in_progress", "failed")  # the rest is completed: counting that would cost most
        query = select(
            rows.count().scalar_subquery(),
            *(rows.count(jobs.c.status == each).scalar_subquery() for each in few),
        )
        with self._reading() as connection:
            total, *found = connection.execute(query).one()
        known = dict(zip(few, found, strict=True))
        return {
            "queued": known["queued"],
            "in_progress": known["in_progress"],
            "completed": total - sum(found),
            "failed": known["failed"],
        }

    def ahead(self, job: Job) -> int:
        """How many queued jobs stand before this one (fairness between owners may still reorder them)."""
        waits = and_(jobs.c.status == "queued", jobs.c.model == job.model)
        better = rows.count(waits, jobs.c.priority > job.priority)
        older = rows.count(waits, jobs.c.priority == job.priority, jobs.c.number < job.number)
        with self._reading() as connection:
            return (connection.scalar(better) or 0) + (connection.scalar(older) or 0)

    def typical_seconds(self, model: str) -> float | None:
        """The mean time of this model's last 20 finished clips; None before the first."""
        with self._reading() as connection:
            return Pace(self._samples(connection, model)).seconds(None)

    def many(self, ids: Iterable[str]) -> dict[str, Job]:
        """Those of these jobs that are there."""
        found: dict[str, Job] = {}
        for part in rows.parts(ids):
            with self._reading() as connection:
                read = connection.execute(select(jobs).where(jobs.c.id.in_(part))).mappings()
                found.update((row["id"], rows.job_of(row)) for row in read)
        return found

    def line(self) -> Line:
        """Everybody who waits or runs now, in one look."""
        with self._reading() as connection:
            waiting = self._waiting(connection)
            running = self._running(connection)
            models = {each.model for each in waiting} | {each.model for each in running}
            paces = {model: Pace(self._samples(connection, model)) for model in models}
            owners = {each.owner for each in waiting}
            served = self._served(connection) if len(owners) > 1 else {}
        return Line(waiting, running, paces, served, read_at=self._clock())

    def _waiting(self, connection: Connection) -> list[Waiting]:
        c = jobs.c
        again, place = order.AGAIN.label("again"), order.PLACE.label("place")
        query = select(c.id, c.model, c.owner, c.priority, again, place, c.number, c.work)
        return [Waiting(*row) for row in connection.execute(query.where(c.status == "queued"))]

    def _running(self, connection: Connection) -> list[Running]:
        c = jobs.c
        query = select(c.id, c.model, c.started_at, c.progress, c.ends_at, c.work)
        return [Running(*row) for row in connection.execute(query.where(c.status == "in_progress"))]

    def _served(self, connection: Connection) -> dict[str, float]:
        """When the owners who wait were served last."""
        owners = select(jobs.c.owner).where(jobs.c.status == "queued").distinct().subquery()
        found = connection.execute(select(owners.c.owner, order.served_at(owners.c.owner)))
        return {owner: at for owner, at in found if at is not None}

    def _samples(self, connection: Connection, model: str) -> list[Sample]:
        latest = (
            select(jobs.c.work, jobs.c.completed_at - jobs.c.started_at)
            .where(jobs.c.model == model, jobs.c.status == "completed")
            .order_by(jobs.c.completed_at.desc())
            .limit(work.SAMPLES)
        )
        return [Sample(*row) for row in connection.execute(latest)]
