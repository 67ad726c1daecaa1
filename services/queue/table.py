"""The tables, and how a database is opened: SQLite on one box, Postgres by URL for several fronts.

A column that is added later is nullable or has a server default: an older kit's table gets it when it is
opened, and an older kit still reads the newer table. A change that an older kit cannot live with raises
``VERSION`` and brings its step into ``_upgrade``.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    ColumnElement,
    Connection,
    Engine,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    cast,
    create_engine,
    extract,
    func,
    insert,
    inspect,
    select,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import CreateColumn

from bootstrap.errors import KitError
from services.queue import sqlite

VERSION = 1
JULIAN_EPOCH_DAYS = 2440587.5  # from the start of SQLite's day numbers to 1970

tables = MetaData()
versions = Table("kinokit_version", tables, Column("version", Integer, primary_key=True, autoincrement=False))
jobs = Table(
    "jobs",
    tables,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("id", String(64), nullable=False, unique=True),
    # An older kit takes every job for a clip: the first other kind raises VERSION.
    Column("kind", String(32), nullable=False, server_default="clip"),
    Column("parent", String(64)),  # the id of the job that this one is a part of
    Column("model", String(64), nullable=False),
    Column("min_vram_gib", Float),  # None: whatever has the model can make it
    Column("owner", String(200), nullable=False),  # who takes turns with others
    Column("key_id", String(64)),  # the named key that asked for it; NULL: the owner
    Column("priority", Integer, nullable=False),
    Column("status", String(16), nullable=False),
    Column("values", JSON, nullable=False),
    Column("prompt", Text),
    Column("warnings", JSON, nullable=False),
    Column("input_name", String(64)),
    Column("remixed_from", String(64)),
    Column("idempotency_key", String(255)),  # of older kits: now a table of its own
    Column("fingerprint", String(64)),
    Column("token", Integer, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("deaths", Integer, nullable=False, server_default="0"),
    Column("interruptions", Integer, nullable=False, server_default="0"),
    Column("turn", Integer),
    Column("worker", String(200)),
    Column("lease_until", Float),
    Column("wait_until", Float),
    Column("era", String(64)),  # what the two above are counted from
    Column("timeout_seconds", Float),
    Column("ttl_seconds", Float),
    # What its attempts took so far: see charges.py. The price is that of the last attempt's worker.
    Column("gpus", Integer),
    Column("hourly_cost", Float),
    Column("charged_from", Float),
    Column("gpu_seconds", Float),
    Column("dollars", Float),
    Column("cancel_requested", Boolean, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("started_at", Float),
    Column("completed_at", Float),
    Column("progress", Float, nullable=False),
    Column("stage", String(64)),
    Column("eta_seconds", Float),
    Column("ends_at", Float),
    Column("work", Float),
    Column("error_code", String(64)),
    Column("error_message", Text),
    Column("content_name", String(64)),
    Column("copied_to", Text),  # where the clip is kept outside of the box as well
    Column("expired_at", Float),  # since when its files are gone; NULL: they are there
    Column("results_prefix", String(200)),  # folders before the copy's name
    Column("copy_due_at", Float),  # the next try, by the database's clock; NULL: now
    Column("copy_state", JSON(none_as_null=True)),  # state, attempts, last_error, url, expires_at
    Column("metadata", JSON, nullable=False),
    Column("webhook", JSON(none_as_null=True)),  # who is told of what: {"url": …, "events": [...]}
    Column("webhook_told", String(16)),  # the status that deliveries were written for; NULL: nothing is owed
    Column("webhook_state", JSON(none_as_null=True)),  # what became of the latest delivery
    UniqueConstraint("owner", "idempotency_key"),
    Index("jobs_by_status", "status", "number"),
    Index("jobs_by_model", "model", "status", "completed_at"),
    Index("jobs_by_end", "completed_at", "dollars"),
    Index("jobs_by_wait", "status", "wait_until"),
    # All that the look for whose turn it is reads, so that it reads no row.
    Index(
        "jobs_by_turn",
        *("status", "priority", "owner", "number", "turn", "token", "interruptions"),
        *("model", "kind", "min_vram_gib"),
    ),
    Index("jobs_by_owner", "owner", "started_at"),
    Index("jobs_by_parent", "parent"),
    Index("jobs_by_key", "key_id", "status", "number"),
    Index("jobs_of_key", "key_id", "number"),  # its pages
    Index("jobs_by_webhook", "webhook_told"),
    Index("jobs_by_age", "expired_at", "completed_at"),
    Index("jobs_by_copy", "status", "copied_to"),
    # A number is never given twice, even when the newest job was deleted: lists page by it.
    sqlite_autoincrement=True,
)

# One message of a webhook, sent until it is taken. Times are the database's.
deliveries = Table(
    "deliveries",
    tables,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("id", String(64), nullable=False, unique=True),  # the same at each try
    Column("job_id", String(64), nullable=False),
    Column("event", String(32), nullable=False),
    Column("url", Text, nullable=False),
    Column("host", String(255), nullable=False),
    Column("body", Text, nullable=False),
    Column("state", String(16), nullable=False),  # waiting, delivered, failed
    Column("attempts", Integer, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("due_at", Float, nullable=False),  # the next try; while one is under way: when it counts as lost
    Column("last_status", Integer),
    Column("last_error", Text),
    UniqueConstraint("job_id", "event"),
    Index("deliveries_due", "state", "due_at"),
)

# What each worker reported last, to whichever front. Times are the database's: fronts' clocks differ.
workers = Table(
    "workers",
    tables,
    Column("name", String(200), primary_key=True),
    Column("reported_at", Float, nullable=False),
    Column("report", JSON, nullable=False),
)

# What a request with an idempotency key made, however long that lives. Times are the database's.
idempotency = Table(
    "idempotency",
    tables,
    Column("caller", String(200), primary_key=True),
    Column("key", String(300), primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    Column("made", JSON, nullable=False),
    Column("expires_at", Float, nullable=False),
    Index("idempotency_by_end", "expires_at"),
)

# What each key used on each day of UTC, also by jobs that were deleted since; "" is the owner.
usage = Table(
    "usage",
    tables,
    Column("key_id", String(64), primary_key=True),
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("clips", Integer, nullable=False),
    Column("gpu_seconds", Float, nullable=False),
)

# What holds for the whole queue as long as its row is there: see pause.py.
flags = Table(
    "flags",
    tables,
    Column("name", String(64), primary_key=True),
    Column("since", Float, nullable=False),
)


def now(connection: Connection) -> ColumnElement[float]:
    """The database's own time, in seconds since the epoch."""
    if connection.dialect.name == "sqlite":
        return (func.julianday("now") - JULIAN_EPOCH_DAYS) * 86400.0
    return cast(extract("epoch", func.clock_timestamp()), Float)


def connect(url: str) -> Engine:
    """Open the database; make the table, or give an older one what it lacks.

    Raises:
        KitError: a newer kit wrote it, in a way that this one cannot read, or there are no file locks.
    """
    if url.startswith("sqlite"):
        engine = create_engine(url, connect_args={"timeout": sqlite.BUSY_TIMEOUT_MS / 1000})
        sqlite.prepare(engine)
    else:
        engine = create_engine(url, pool_pre_ping=True)
    try:
        try:
            _upgrade(engine)
        except DBAPIError:  # another front was at it at the same moment
            _upgrade(engine)
    except BaseException:
        engine.dispose()
        raise
    return engine


def _upgrade(engine: Engine) -> None:
    with engine.begin() as connection:
        tables.create_all(connection)
        _check_version(connection)
        for table in (jobs, workers, idempotency, deliveries, usage):
            there = {column["name"] for column in inspect(connection).get_columns(table.name)}
            for column in table.columns:
                if column.name not in there:
                    spelt = CreateColumn(column).compile(dialect=engine.dialect)
                    connection.exec_driver_sql(f"ALTER TABLE {table.name} ADD COLUMN {spelt}")
            for index in table.indexes:
                index.create(connection, checkfirst=True)


def _check_version(connection: Connection) -> None:
    written = connection.scalar(select(func.max(versions.c.version)))
    if written is None:
        connection.execute(insert(versions).values(version=VERSION))
    elif written > VERSION:
        raise KitError(
            f"a newer kinokit wrote the queue's database: it has version {written}, this kit reads {VERSION}",
            fix="start the newer kit again, or give this one another --data-dir or KINOKIT_DATABASE_URL",
        )
