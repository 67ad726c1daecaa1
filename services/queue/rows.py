"""The SQL that the queue's verbs are made of: which rows, and what a change writes into them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, case, func, or_, select

from services.queue.job import (
    CANCELLED,
    EXPIRED,
    MAX_INTERRUPTIONS,
    PATIENT_INTERRUPTIONS,
    UNFINISHED,
    WORKER_LOST,
    Abilities,
    Job,
    NewJob,
    NotFound,
)
from services.queue.table import jobs


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
    }


def doable(can: Abilities) -> ColumnElement[bool]:
    """Jobs that a worker with these abilities can make."""
    has_room: ColumnElement[bool] = jobs.c.min_vram_gib.is_(None)
    if can.vram_gib is not None:
        has_room = or_(has_room, jobs.c.min_vram_gib <= can.vram_gib)
    return and_(jobs.c.model.in_(can.models), jobs.c.kind.in_(can.kinds), has_room)


def next_number(can: Abilities) -> Any:
    """The number of the job to run next."""
    served = select(jobs.c.owner, func.max(jobs.c.started_at).label("at")).group_by(jobs.c.owner).subquery()
    return (
        select(jobs.c.number)
        .join(served, served.c.owner == jobs.c.owner)
        .where(jobs.c.status == "queued", doable(can))
        .order_by(
            jobs.c.priority.desc(),
            and_(jobs.c.token > 0, jobs.c.interruptions < PATIENT_INTERRUPTIONS).desc(),  # its turn had come
            func.coalesce(served.c.at, 0.0),
            func.coalesce(jobs.c.turn, jobs.c.number),
            jobs.c.turn.is_not(None),  # behind the one that was the last
            jobs.c.number,
        )
        .limit(1)
        .with_for_update(of=jobs, skip_locked=True)
    )


def held(job_id: str, token: int) -> ColumnElement[bool]:
    """Of the attempt with this token, also after its lease ran out, until somebody else claims the job."""
    fence = and_(jobs.c.token == token, jobs.c.token > 0)
    return and_(jobs.c.id == job_id, fence, jobs.c.status.in_(UNFINISHED))


def unleased() -> dict[str, Any]:
    return {"worker": None, "lease_until": None, "eta_seconds": None}


def requeued() -> dict[str, Any]:
    """What its worker itself gave back: the token grows, so that nothing it sent before takes it again."""
    return _waits() | unleased() | {"token": jobs.c.token + 1}


def interrupted() -> dict[str, Any]:
    """Its worker has not been heard of, and may still come back: the token and the name are kept."""
    often = jobs.c.interruptions + 1 >= PATIENT_INTERRUPTIONS
    last = select(func.max(jobs.c.number)).scalar_subquery()
    counted = {"interruptions": jobs.c.interruptions + 1, "turn": case((often, last), else_=jobs.c.turn)}
    return _waits() | {"lease_until": None, "eta_seconds": None} | counted


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
    return ended | unleased()


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
