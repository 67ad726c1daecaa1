"""SQLite's file: which journal works where it lies, and how each connection is prepared.

WAL needs memory that processes share through the file. 9p, some FUSE and network volumes have none: there the
queue keeps a rollback journal, which is slower and just as safe.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Engine, event

from bootstrap.errors import KitError

log = logging.getLogger("kinokit.front")

BUSY_TIMEOUT_MS = 10_000
Journal = Literal["WAL", "TRUNCATE"]
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


def prepare(engine: Engine) -> None:
    """Give every connection of this engine the journal that works there.

    Raises:
        KitError: the file system has no locks.
    """
    file = engine.url.database
    journal = _journal(Path(file)) if file and file != ":memory:" else "WAL"

    def connected(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # the driver begins nothing: _begin does
        with closing(connection.cursor()) as cursor:
            cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
            cursor.execute(f"PRAGMA journal_mode={journal}")

    def begin(connection: Any) -> None:
        options = connection.get_execution_options()
        if options.get("reads_only"):
            connection.exec_driver_sql("BEGIN DEFERRED")
            return
        # At a power loss WAL loses what was not synced, a rollback journal may be damaged.
        may_be_lost = journal == "WAL" and options.get("may_be_lost")
        connection.exec_driver_sql(f"PRAGMA synchronous={'NORMAL' if may_be_lost else 'FULL'}")
        # The lock first: one that begins as a reader fails at once when another wrote meanwhile.
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    event.listen(engine, "connect", connected)
    event.listen(engine, "begin", begin)


def _journal(file: Path) -> Journal:
    """WAL, if a transaction can be begun with it. What is wrong otherwise is left to the first real one."""
    _check_locks(file.parent)
    try:
        with closing(_connect(file)) as connection:
            (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
            connection.execute("BEGIN IMMEDIATE")
            if mode == "wal":
                return "WAL"
    except sqlite3.Error as error:
        if not _is_about_shared_memory(error):
            return "WAL"
    _leave_wal(file)
    log.warning("%s has no shared memory: the queue keeps a rollback journal", _described(file.parent))
    return "TRUNCATE"


def _connect(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(file, timeout=BUSY_TIMEOUT_MS / 1000, isolation_level=None)


def _is_about_shared_memory(error: sqlite3.Error) -> bool:
    name = getattr(error, "sqlite_errorname", "")
    return name.startswith("SQLITE_IOERR_SHM") or name in ("SQLITE_CANTOPEN", "SQLITE_PROTOCOL")


def _leave_wal(file: Path) -> None:
    """A file that is marked for WAL is opened there only by a connection that keeps it for itself."""
    try:
        with closing(_connect(file)) as connection:
            connection.execute("PRAGMA locking_mode=EXCLUSIVE")
            connection.execute("PRAGMA journal_mode=TRUNCATE")
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error:
        log.warning("the queue's database cannot leave WAL")  # the first transaction tells why


def _check_locks(folder: Path) -> None:
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            fcntl.lockf(probe, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in NO_LOCKS:
            raise KitError(
                f"{_described(folder)} has no file locks; the queue's database needs them",
                fix="choose a --data-dir on another disk, or a PostgreSQL by KINOKIT_DATABASE_URL",
            ) from error


def _described(folder: Path) -> str:
    return f"the file system of {folder} ({_kind(folder)})"


def _kind(folder: Path) -> str:
    """Such as "9p" or "fuse.mfs", by the mount that the folder lies on."""
    try:
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return "its kind is not known"
    mounts = {line.split()[4]: line.partition(" - ")[2].split()[0] for line in lines}  # the last one counts
    place = folder.absolute()
    return next((mounts[str(each)] for each in (place, *place.parents) if str(each) in mounts), "unknown")
