"""Transactions on the queue's database, and what its errors mean."""

from __future__ import annotations

import errno
import logging
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionLeft

from bootstrap.errors import KitError
from services.queue.job import DatabaseDown
from services.queue.table import connect

log = logging.getLogger("kinokit.front")


class Database:
    """Raises ``DatabaseDown`` when it does not answer, ``KitError`` when it cannot be read at all."""

    def __init__(self, url: str) -> None:
        with _answering():
            self._engine = connect(url)
        self._reader = self._engine.execution_options(reads_only=True)
        self._hasty = self._engine.execution_options(may_be_lost=True)
        self._was_away = False

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def writing(self, *, may_be_lost: bool = False) -> Iterator[Connection]:
        """A transaction that is on the disk when the block has ended.

        ``may_be_lost``: at a power cut; nothing is waited for then. For what is soon written again.
        """
        with self._noticing(), (self._hasty if may_be_lost else self._engine).begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        with self._noticing(), self._reader.begin() as connection:
            yield connection

    def outage_ended(self) -> bool:
        """Whether there was one since the last time; to be asked within a transaction."""
        was_away, self._was_away = self._was_away, False
        return was_away

    @contextmanager
    def _noticing(self) -> Iterator[None]:
        try:
            with _answering():
                yield
        except (DatabaseDown, OSError):  # away, or the disk is full
            self._was_away = True
            raise


@contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except OperationalError as error:
        if getattr(error.orig, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            raise OSError(errno.ENOSPC, "the disk is full") from None
        log.warning("the database does not answer (%s)", type(error.orig).__name__)
        raise DatabaseDown from None
    except NoConnectionLeft:  # all of them wait for it
        log.warning("the database does not answer (all connections are in use)")
        raise DatabaseDown from None
    except DatabaseError as error:
        if type(error.orig) is not sqlite3.DatabaseError:
            raise
        raise KitError(
            f"the queue's database is damaged: {error.orig}",
            fix="move jobs.db away from the data directory and start again; the clips stay in jobs/",
        ) from None
