"""Whose turn it is: priority, then what was interrupted once, then the owner served longest ago, then age."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, bindparam, case, func, or_, select

from services.queue.job import PATIENT_INTERRUPTIONS, Abilities
from services.queue.table import jobs

CANDIDATES = 8  # other fronts may be taking the first of them at this moment

# Its turn had come already
AGAIN: ColumnElement[bool] = and_(jobs.c.token > 0, jobs.c.interruptions < PATIENT_INTERRUPTIONS)
# Among those of its owner: by age, or behind the one that was the last when it lost its place
PLACE: ColumnElement[float] = func.coalesce(jobs.c.turn + 0.5, jobs.c.number)


def doable(can: Abilities) -> ColumnElement[bool]:
    """Jobs that a worker with these abilities can make."""
    has_room: ColumnElement[bool] = jobs.c.min_vram_gib.is_(None)
    if can.vram_gib is not None:
        has_room = or_(has_room, jobs.c.min_vram_gib <= can.vram_gib)
    return and_(jobs.c.model.in_(can.models), jobs.c.kind.in_(can.kinds), has_room)


def next_number(connection: Connection, can: Abilities) -> int | None:
    """The number of the job to run next, locked where the database locks rows."""
    turns, first = _statements(can)
    for priority, owner in connection.execute(turns).all():
        number: int | None = connection.scalar(first, {"priority_now": priority, "owner_now": owner})
        if number is not None:
            return number
    return None


@lru_cache(maxsize=64)  # putting them together takes longer than running them
def _statements(can: Abilities) -> tuple[Any, Any]:
    """Whose turn it is, in order; and the first job of one of them."""
    waiting = and_(jobs.c.status == "queued", doable(can))
    first = (
        select(jobs.c.number)
        .where(waiting, jobs.c.priority == bindparam("priority_now"), jobs.c.owner == bindparam("owner_now"))
        .order_by(AGAIN.desc(), PLACE, jobs.c.number)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    return _turns(waiting), first


def served_at(owner: ColumnElement[str]) -> Any:
    """When an owner's latest job was begun: one look into an index, however many there were."""
    others = jobs.alias()
    return select(func.max(others.c.started_at)).where(others.c.owner == owner).scalar_subquery()


def _turns(waiting: ColumnElement[bool]) -> Any:
    """Priority and owner of the jobs that are next, in order."""
    owners = (
        select(
            jobs.c.priority,
            jobs.c.owner,
            func.max(case((AGAIN, 1), else_=0)).label("again"),
            func.min(PLACE).label("place"),
        )
        .where(waiting)
        .group_by(jobs.c.priority, jobs.c.owner)
        .subquery()
    )
    return (
        select(owners.c.priority, owners.c.owner)
        .order_by(
            owners.c.priority.desc(),
            owners.c.again.desc(),
            func.coalesce(served_at(owners.c.owner), 0.0),
            owners.c.place,
        )
        .limit(CANDIDATES)
    )
