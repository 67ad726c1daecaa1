"""One named key: its scopes and limits. The secret itself is kept nowhere, only its hash."""

from __future__ import annotations

import hashlib
import secrets
import time
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Scope = Literal["make", "read", "read:all", "admin", "worker"]
WORKER: Scope = "worker"
PEOPLE_PREFIX, WORKER_PREFIX = "kk_", "kw_"
SECRET_BYTES = 32
BOX_MARK = "."  # ends the box's name in a worker token and in a worker's name; no key's name holds it

Name = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,39}$", description="Letters, digits, - and _")
]
Count = Annotated[int, Field(ge=1)]
Amount = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Limits(BaseModel):
    """None: there is no limit of this kind."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    requests_per_minute: Amount | None = None
    clips_per_day: Count | None = None  # a day of UTC
    gpu_seconds_per_day: Amount | None = None
    queue_share: Annotated[float, Field(gt=0, le=1, description="Of the places where clips wait")] = 0.5


class NewKey(Limits):
    """What is asked for."""

    name: Name
    scopes: Annotated[tuple[Scope, ...], Field(min_length=1)] = ("make",)
    expires_in_seconds: Amount | None = None

    @model_validator(mode="after")
    def _workers_are_no_people(self) -> NewKey:
        if WORKER in self.scopes and len(self.scopes) > 1:
            raise ValueError("worker is for a box's workers alone: give it no other scope")
        return self


class Key(Limits):
    """What is kept. Times are seconds since the epoch."""

    id: str
    name: str
    scopes: tuple[Scope, ...]
    hash: str
    created_at: float
    expires_at: float | None = None
    revoked_at: float | None = None
    last_used_at: float | None = None

    @property
    def is_active(self) -> bool:
        return self.revoked_at is None and (self.expires_at is None or time.time() < self.expires_at)

    @property
    def is_workers(self) -> bool:
        return WORKER in self.scopes


def make(wanted: NewKey) -> tuple[Key, str]:
    """A key and its secret, which nobody can find again."""
    secret = secrets.token_urlsafe(SECRET_BYTES)
    begin = f"{WORKER_PREFIX}{wanted.name}{BOX_MARK}" if WORKER in wanted.scopes else PEOPLE_PREFIX
    now = time.time()
    limits = wanted.model_dump(include=set(Limits.model_fields))
    made = Key(
        id=f"key_{secrets.token_hex(8)}",
        name=wanted.name,
        scopes=wanted.scopes,
        hash=hash_of(begin + secret),
        created_at=now,
        expires_at=None if wanted.expires_in_seconds is None else now + wanted.expires_in_seconds,
        **limits,
    )
    return made, begin + secret


def hash_of(secret: str) -> str:
    """256 random bits need no slow hash."""
    return hashlib.sha256(secret.encode()).hexdigest()
