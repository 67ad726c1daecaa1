"""One job as the table keeps it, and what the queue may answer instead of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Status = Literal["queued", "in_progress", "completed", "failed"]
UNFINISHED: tuple[Status, ...] = ("queued", "in_progress")

# Error codes that the queue itself gives; workers add theirs (out_of_memory, generation_failed, ...).
CANCELLED = "cancelled"
WORKER_LOST = "worker_lost"
EXPIRED = "expired"

CLIP = "clip"  # the kind of all jobs so far

MAX_DEATHS = 2  # GPU children that died in a job: then it is the job's fault
MAX_INTERRUPTIONS = 20  # lost workers, restarted boxes: seldom the job's fault, but it must end some day
PATIENT_INTERRUPTIONS = 2  # from then on it waits behind those that were there before
LEASE_SECONDS = 30.0


@dataclass(frozen=True)
class Abilities:
    """What a worker can do: a job that needs more is not given to it; and what an hour of it costs."""

    models: tuple[str, ...]
    kinds: tuple[str, ...] = (CLIP,)
    vram_gib: float | None = None  # None: jobs that ask for a size are left to others
    gpus: int = 1
    hourly_cost: float | None = None  # dollars; None: nobody said


@dataclass(frozen=True)
class NewJob:
    """What a client asks for, complete and checked."""

    id: str
    model: str
    values: dict[str, Any]
    kind: str = CLIP
    parent: str | None = None  # the id of the job that this one is a part of
    min_vram_gib: float | None = None
    prompt: str | None = None
    warnings: tuple[str, ...] = ()
    owner: str = ""
    key_id: str | None = None  # the named key that asks; None: the owner
    priority: int = 0
    input_name: str | None = None  # the input's file name below the job's folder
    remixed_from: str | None = None
    timeout_seconds: float | None = None  # that one attempt may take; None: as the front's settings say
    ttl_seconds: float | None = None  # that it may wait for its first attempt; None: for ever
    results_prefix: str | None = None  # folders before the copy's name
    webhook: dict[str, Any] | None = None  # who is told of what: url and events
    webhook_told: str | None = None  # "" where somebody is to be told


@dataclass(frozen=True)
class Allowance:
    """How much one key may have; None: there is no limit."""

    key_id: str
    max_queued: int
    clips_per_day: int | None = None
    gpu_seconds_per_day: float | None = None


@dataclass(frozen=True)
class Once:
    """A request that makes its jobs once, however often it is sent."""

    caller: str  # whose key it is
    key: str
    fingerprint: str  # of the request as it was given: the same key must mean the same request
    lives_seconds: float  # however long the jobs live
    is_new: bool = False  # made again whatever was made before; kept for what repeats it


@dataclass(frozen=True)
class Job:
    """A row. Times are seconds since the epoch."""

    number: int  # grows with each job: its age, and its place in lists
    id: str
    kind: str
    parent: str | None
    model: str
    min_vram_gib: float | None
    owner: str
    key_id: str | None
    priority: int
    status: Status
    values: dict[str, Any]
    prompt: str | None
    warnings: list[str]
    input_name: str | None
    remixed_from: str | None
    idempotency_key: str | None  # of older kits: now a table of its own
    fingerprint: str | None
    token: int  # the fence: grows with each claim
    attempts: int  # claims that count: one that a worker gave back does not
    deaths: int  # GPU children that died while they made it
    interruptions: int  # attempts that ended with their worker, box or lease
    turn: int | None  # its place in the queue, when that is not its number any more
    worker: str | None  # who has it, or had it last and may still come back
    lease_until: float | None  # by the clock of ``era``
    wait_until: float | None  # likewise; when it has not begun by then it ends
    era: str | None  # what those two are counted from
    timeout_seconds: float | None
    ttl_seconds: float | None
    gpus: int | None  # of the last attempt's worker
    hourly_cost: float | None  # likewise, in dollars
    charged_from: float | None  # since when its worker's time has not been counted yet
    gpu_seconds: float | None  # of all attempts that have ended
    dollars: float | None  # likewise; None: no worker had a price
    cancel_requested: bool
    created_at: float
    started_at: float | None
    completed_at: float | None
    progress: float  # 0 to 1
    stage: str | None
    eta_seconds: float | None  # as its worker said last
    ends_at: float | None  # likewise, on the clock
    work: float | None  # what it asks for: see work.py
    error_code: str | None
    error_message: str | None
    content_name: str | None  # the winning attempt's file below the job's folder
    copied_to: str | None  # where the clip is kept outside of the box as well
    metadata: dict[str, Any] = field(default_factory=dict)
    expired_at: float | None = None  # since when its files are gone
    results_prefix: str | None = None  # folders before the copy's name
    copy_due_at: float | None = None  # the next try, by the database's clock; None: now
    copy_state: dict[str, Any] | None = None  # state, attempts, last_error, url, expires_at
    webhook: dict[str, Any] | None = None  # who is told of what: url and events
    webhook_told: str | None = None  # the status that deliveries were written for; None: nothing is owed
    webhook_state: dict[str, Any] | None = None  # of the latest delivery: state, attempts, last_status …

    @property
    def finished(self) -> bool:
        return self.status not in UNFINISHED


class QueueFull(Exception):
    """As many jobs wait as may; ``queued`` of them."""

    def __init__(self, queued: int) -> None:
        super().__init__(f"{queued} jobs are waiting")
        self.queued = queued


class OverAllowance(Exception):
    """A key has as much as it may: ``kind`` is "queued", "clips" or "gpu_seconds"."""

    def __init__(self, kind: str, used: float, allowed: float, left_seconds: float) -> None:
        super().__init__(f"{kind}: {used:g} of {allowed:g}")
        self.kind = kind
        self.used = used
        self.allowed = allowed
        self.left_seconds = left_seconds  # until the day is over


class KeyReused(Exception):
    """The idempotency key was used before, for another request."""


class NotFound(Exception):
    """There is no such job."""


class DatabaseDown(Exception):
    """The database does not answer. Without a reason: the driver's message may hold its address."""
