"""What workers reported, kept in the database: fronts that share it know each other's workers."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from services.queue.database import Database
from services.queue.table import now, workers
from services.queue.workers import SILENT_SECONDS, Report

FORGET_SECONDS = 24 * 3600.0


class Announcements:
    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock

    def write(self, report: Report) -> None:
        """Replace what this worker reported before."""
        this = workers.c.name == report.worker
        try:
            with self._database.writing(may_be_lost=True) as connection:
                values = {"report": report.as_json(), "reported_at": now(connection)}
                if not connection.execute(update(workers).where(this).values(**values)).rowcount:
                    connection.execute(insert(workers).values(name=report.worker, **values))
                old = workers.c.reported_at < now(connection) - FORGET_SECONDS
                connection.execute(delete(workers).where(old))
        except IntegrityError:  # another front has just written the same worker
            pass

    def read(self) -> list[Report]:
        """Of the workers that are present; their times on this front's clock."""
        with self._database.reading() as connection:
            age = (now(connection) - workers.c.reported_at).label("age")
            found = connection.execute(select(workers.c.report, age).where(age < SILENT_SECONDS)).all()
        here = self._clock()
        return [Report.from_json(row.report, reported_at=here - row.age) for row in found]
