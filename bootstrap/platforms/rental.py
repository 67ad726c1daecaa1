"""A box that is being paid for, its address by ssh, and an order that nobody answered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# ``interrupted``: the marketplace took it back or its host is gone. ``ended``: it costs nothing more.
State = Literal["starting", "running", "stopped", "interrupted", "ended"]


@dataclass(frozen=True)
class Ssh:
    """Where the box is reached by ssh; the key is the account's or the order's."""

    user: str
    host: str
    port: int


@dataclass(frozen=True)
class Pending:
    """An order that was sent, and whose answer never came: where it would stand, and since when."""

    label: str
    host_id: str
    ordered_at: float  # seconds since the epoch


@dataclass(frozen=True)
class Rental:
    """A box that is being paid for. ``None``: the marketplace does not say, or not yet."""

    platform: str
    id: str
    label: str  # empty where the marketplace keeps none
    state: State
    word: str  # the marketplace's own for the state
    url: str | None = None  # of the service's port
    dollars_per_hour: float | None = None  # what is charged now; of the disk alone when it is stopped
    host_id: str | None = None
    created_at: float | None = None  # seconds since the epoch
    interruptible: bool = False
    ssh: Ssh | None = None
