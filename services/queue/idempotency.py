"""Which request made which jobs: one that is repeated does not make a job again that was deleted since.

Nothing that somebody wrote is kept here: what a person deletes is gone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, and_, delete, insert, select

from services.queue import rows
from services.queue.job import Job, KeyReused, Once
from services.queue.table import idempotency, jobs, now

DELETED = "deleted"


def made(connection: Connection, once: Once) -> list[Job] | None:
    """The jobs of this key, deleted ones as failed; None when it has made none yet. Raises ``KeyReused``."""
    if once.is_new:
        return None
    lives = idempotency.c.expires_at > now(connection)
    kept = connection.execute(select(idempotency).where(_place(once), lives)).mappings().first()
    if kept is None:
        return None
    if kept["fingerprint"] != once.fingerprint:
        raise KeyReused(once.key)
    ids = [each["id"] for each in kept["made"]]
    rest = connection.execute(select(jobs).where(jobs.c.id.in_(ids))).mappings()
    there = {row["id"]: rows.job_of(row) for row in rest}
    return [there.get(each["id"]) or _deleted(each) for each in kept["made"]]


def keep(connection: Connection, once: Once, made_rows: Sequence[Mapping[str, Any]]) -> None:
    """Note what it made, in the transaction that makes it; what is too old goes."""
    moment = now(connection)
    is_over = idempotency.c.expires_at <= moment
    connection.execute(delete(idempotency).where(is_over | _place(once) if once.is_new else is_over))
    values = {
        "caller": once.caller,
        "key": once.key,
        "fingerprint": once.fingerprint,
        "made": [_outline(row) for row in made_rows],
        "expires_at": moment + once.lives_seconds,
    }
    connection.execute(insert(idempotency).values(**values))


def _place(once: Once) -> Any:
    return and_(idempotency.c.caller == once.caller, idempotency.c.key == once.key)


def _outline(row: Mapping[str, Any]) -> dict[str, Any]:
    """A job's row without its texts."""
    numbers = {name: value for name, value in row["values"].items() if isinstance(value, (int, float))}
    return {**row, "values": numbers, "prompt": None, "warnings": [], "owner": "", "input_name": None}


def _deleted(outline: Mapping[str, Any]) -> Job:
    known = {column.name for column in jobs.columns}
    ended = {
        "number": 0,
        "status": "failed",
        "error_code": DELETED,
        "error_message": "this video was deleted",
        "completed_at": outline["created_at"],
    }
    row = dict.fromkeys(known) | {name: value for name, value in outline.items() if name in known} | ended
    return rows.job_of(row)
