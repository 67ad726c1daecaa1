"""The SQL that the queue's verbs are made of: which rows, and what a change writes into them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, case, func, select

from services.queue import charges, work
from services.queue.job import (
    CANCELLED,
    EXPIRED,
    MAX_INTERRUPTIONS,
    PATIENT_INTERRUPTIONS,
    UNFINISHED,
    WORKER_LOST,
    Job,
    NewJob,
    NotFound,
)
from services.queue.table import jobs

PART = 1000


def of(new: NewJob, now: float) -> dict[str, Any]:
    """A new job's row."""
    return {
        **new.__dict__,
        "warnings": list(new.warnings),
        "status": "queued",
        "token": 0,
        "attempts": 0,
        "deaths": 0,
        "interruptions": 0,
        "cancel_requested": False,
        "created_at": now,
        "progress": 0.0,
        "metadata": {},
        "work": work.of(new.values),
    }


def held(job_id: str, token: int) -> ColumnElement[bool]:
    """Of the attempt with this token, also after its lease ran out, until somebody else claims the job."""
    fence = and_(jobs.c.token == token, jobs.c.token > 0)
    return and_(jobs.c.id == job_id, fence, jobs.c.status.in_(UNFINISHED))


def unleased(now: float) -> dict[str, Any]:
    nobody = {"worker": None, "lease_until": None, "eta_seconds": None, "ends_at": None}
    return nobody | charges.charged(now)


def requeued(now: float) -> dict[str, Any]:
    """What its worker itself gave back: the token grows, so that nothing it sent before takes it again."""
    return _waits() | unleased(now) | {"token": jobs.c.token + 1}


def interrupted(now: float) -> dict[str, Any]:
    """Its worker has not been heard of, and may still come back: the token and the name are kept."""
    often = jobs.c.interruptions + 1 >= PATIENT_INTERRUPTIONS
    last = select(func.max(jobs.c.number)).scalar_subquery()
    counted = {"interruptions": jobs.c.interruptions + 1, "turn": case((often, last), else_=jobs.c.turn)}
    unheard = {"lease_until": None, "eta_seconds": None, "ends_at": None}
    return _waits() | unheard | counted | charges.charged(now) | {"charged_from": now}


def _waits() -> dict[str, Any]:
    return {"status": "queued", "progress": 0.0, "stage": None}


def lost(now: float) -> dict[str, Any]:
    """For a job whose worker was lost again and again."""
    text = (
        f"its worker was lost {MAX_INTERRUPTIONS} times while making this clip, which is as often as may be"
    )
    return _failed(WORKER_LOST, text, now)


def poisoned(now: float, reason: str, deaths: int) -> dict[str, Any]:
    """For a job that killed more than one GPU child."""
    text = f"the GPU process {reason}, {deaths} times while making this clip"
    return _failed(WORKER_LOST, text, now) | {"deaths": deaths}


def expired(now: float) -> dict[str, Any]:
    """For a job that waited longer than it may."""
    return _failed(EXPIRED, "it waited longer than its ttl_seconds and was never begun", now)


def cancelled(now: float) -> dict[str, Any]:
    return _failed(CANCELLED, "the job was cancelled", now) | {"cancel_requested": True}


def _failed(code: str, message: str, now: float) -> dict[str, Any]:
    ended = {"status": "failed", "error_code": code, "error_message": message, "completed_at": now}
    return ended | unleased(now)


def count(*where: ColumnElement[bool]) -> Any:
    return select(func.count()).select_from(jobs).where(*where)


def first(connection: Connection, where: ColumnElement[bool]) -> Job | None:
    row = connection.execute(select(jobs).where(where)).mappings().first()
    return None if row is None else job_of(row)


def one(connection: Connection, job_id: str) -> Job:
    found = first(connection, jobs.c.id == job_id)
    if found is None:
        raise NotFound(job_id)
    return found


def job_of(row: Any) -> Job:
    return Job(**row)


def parts(ids: Iterable[str]) -> Iterator[list[str]]:
    """A statement takes so many values and no more."""
    left = sorted(ids)
    return (left[start : start + PART] for start in range(0, len(left), PART))
