"""Whether the queue is paused by hand: kept in the database, so that all fronts that share it hold back."""

from __future__ import annotations

from sqlalchemy import delete, insert, select
from sqlalchemy.exc import IntegrityError

from services.queue.database import Database
from services.queue.table import flags, now

PAUSED = "paused"


class Pause:
    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self) -> None:
        try:
            with self._database.writing() as connection:
                connection.execute(insert(flags).values(name=PAUSED, since=now(connection)))
        except IntegrityError:  # it is paused already
            pass

    def end(self) -> None:
        with self._database.writing() as connection:
            connection.execute(delete(flags).where(flags.c.name == PAUSED))

    def is_on(self) -> bool:
        """Asked as a writer: a database that takes no job now does not answer this either."""
        with self._database.writing(may_be_lost=True) as connection:
            return connection.scalar(select(flags.c.since).where(flags.c.name == PAUSED)) is not None
