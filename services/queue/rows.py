"""The SQL that the queue's verbs are made of: which rows, and what a change writes into them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, func, or_, select

from services.queue.job import CANCELLED, MAX_ATTEMPTS, WORKER_LOST, Abilities, Job, NewJob, NotFound
from services.queue.table import jobs


def of(new: NewJob, now: float) -> dict[str, Any]:
    """A new job's row."""
    return {
        **new.__dict__,
        "warnings": list(new.warnings),
        "status": "queued",
        "token": 0,
        "attempts": 0,
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
            (jobs.c.token > 0).desc(),  # its turn had come already
            func.coalesce(served.c.at, 0.0),
            jobs.c.number,
        )
        .limit(1)
        .with_for_update(of=jobs, skip_locked=True)
    )


def held(job_id: str, token: int) -> ColumnElement[bool]:
    return and_(jobs.c.id == job_id, jobs.c.token == token, jobs.c.status == "in_progress")


def unleased() -> dict[str, Any]:
    return {"worker": None, "lease_until": None, "eta_seconds": None}


def requeued() -> dict[str, Any]:
    return {"status": "queued", "progress": 0.0, "stage": None} | unleased()


def lost(now: float) -> dict[str, Any]:
    """For a job that took its workers with it too often."""
    return {
        "status": "failed",
        "error_code": WORKER_LOST,
        "error_message": f"the worker was lost {MAX_ATTEMPTS} times while making this clip",
        "completed_at": now,
    } | unleased()


def cancelled(now: float) -> dict[str, Any]:
    return {
        "status": "failed",
        "error_code": CANCELLED,
        "error_message": "the job was cancelled",
        "cancel_requested": True,
        "completed_at": now,
    } | unleased()


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
