"""Who asks. The door writes it into ``request.state.caller``; a route that is open to all has none."""

from __future__ import annotations

from collections.abc import Set
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Literal

from starlette.types import Scope

Need = Literal["read", "make", "admin"]

# A scope is what a key was given; what a route needs is met by any of these.
MEETS: dict[Need, frozenset[str]] = {
    "read": frozenset({"read", "read:all", "make", "admin"}),
    "make": frozenset({"make", "admin"}),
    "admin": frozenset({"admin"}),
}


@dataclass(frozen=True)
class Limits:
    """None: there is none. A share is the part of the queue that a key's waiting jobs may fill."""

    requests_per_minute: float | None = None
    clips_per_day: int | None = None
    gpu_seconds_per_day: float | None = None
    queue_share: float = 1.0  # 0 to 1


@dataclass(frozen=True)
class Caller:
    """``key_id`` is None for the owner, who has the token or sits at the machine itself."""

    name: str = "owner"
    key_id: str | None = None
    scopes: Set[str] = frozenset({"admin"})
    limits: Limits = field(default_factory=Limits)

    def may(self, need: Need) -> bool:
        return bool(MEETS[need] & self.scopes)

    @property
    def sees_all(self) -> bool:
        """All jobs, not those of the own key alone."""
        return bool({"read:all", "admin"} & self.scopes)


OWNER = Caller()
_current: ContextVar[Caller] = ContextVar("caller", default=OWNER)


def enter(scope: Scope, caller: Caller) -> None:
    """Everything that this request starts is done for ``caller``."""
    scope.setdefault("state", {})["caller"] = caller
    _current.set(caller)


def current() -> Caller:
    """Who the running request is for; the kit itself acts as the owner."""
    return _current.get()
