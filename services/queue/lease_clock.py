"""The clock by which leases end: one that nobody sets.

All fronts of a SQLite file run on one machine: its monotonic clock counts, which begins anew with each boot.
On PostgreSQL it is the database's own, since the fronts' clocks differ.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import ColumnElement, Connection

from services.queue import table

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class LeaseClock:
    """``era`` names what the seconds are counted from: those of another era cannot be compared."""

    era: str
    seconds: Callable[[], float] | None  # None: the database's

    def now(self, connection: Connection) -> float | ColumnElement[float]:
        return table.now(connection) if self.seconds is None else self.seconds()


def of(url: str) -> LeaseClock:
    """The one for this database."""
    return (
        LeaseClock(_boot_id(), time.monotonic) if url.startswith("sqlite") else LeaseClock("database", None)
    )


def _boot_id() -> str:
    try:
        return BOOT_ID.read_text().strip()
    except OSError:  # no Linux: each front begins an era of its own, with grace for all leases
        return str(uuid.uuid4())
