"""What each key used, by days of UTC: kept apart from the jobs, which people delete."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select
from sqlalchemy.dialects import postgresql, sqlite

from services.queue import rows
from services.queue.database import Database
from services.queue.job import Allowance, OverAllowance
from services.queue.table import jobs, usage

OWNER = ""  # in the table: jobs without a key
DAY_SECONDS = 24 * 3600
INSERTS: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


@dataclass(frozen=True)
class Used:
    key_id: str | None  # None: the owner
    clips: int = 0
    gpu_seconds: float = 0.0


class Usage:
    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock

    def admit(self, allowance: Allowance) -> None:
        """Raises ``OverAllowance`` when the key may have no further job now."""
        with self._database.reading() as connection:
            check(connection, allowance, 1, self._clock())

    def read(self, *, days: int = 1) -> list[Used]:
        """Of the last so many days of UTC, today included; keys that used nothing are left out."""
        c = usage.c
        since = day(self._clock()) - days + 1
        query = select(c.key_id, func.sum(c.clips), func.sum(c.gpu_seconds)).where(c.day >= since)
        with self._database.reading() as connection:
            found = connection.execute(query.group_by(c.key_id)).all()
        return [Used(key_id or None, int(clips), float(seconds)) for key_id, clips, seconds in found]


def day(now: float) -> int:
    return int(now // DAY_SECONDS)


def charge(
    connection: Connection, key_id: str | None, now: float, *, clips: int = 0, gpu_seconds: float = 0.0
) -> None:
    """Add to what this key used today, in the caller's transaction."""
    row = {"key_id": key_id or OWNER, "day": day(now), "clips": clips, "gpu_seconds": gpu_seconds}
    added = INSERTS[connection.dialect.name](usage).values(**row)
    both = {"clips": usage.c.clips + clips, "gpu_seconds": usage.c.gpu_seconds + gpu_seconds}
    connection.execute(added.on_conflict_do_update(index_elements=["key_id", "day"], set_=both))


def check(connection: Connection, allowance: Allowance, new: int, now: float) -> None:
    """Raises ``OverAllowance`` when so many new jobs would be more than the key may have."""
    waiting = connection.scalar(rows.count(jobs.c.status == "queued", jobs.c.key_id == allowance.key_id)) or 0
    if waiting + new > allowance.max_queued:
        raise OverAllowance("queued", waiting, allowance.max_queued, 0.0)
    today = (usage.c.key_id == allowance.key_id) & (usage.c.day == day(now))
    used = connection.execute(select(usage.c.clips, usage.c.gpu_seconds).where(today)).first()
    clips, gpu_seconds = (0, 0.0) if used is None else used
    left = DAY_SECONDS - now % DAY_SECONDS
    if allowance.clips_per_day is not None and clips + new > allowance.clips_per_day:
        raise OverAllowance("clips", clips, allowance.clips_per_day, left)
    if allowance.gpu_seconds_per_day is not None and gpu_seconds >= allowance.gpu_seconds_per_day:
        raise OverAllowance("gpu_seconds", gpu_seconds, allowance.gpu_seconds_per_day, left)
