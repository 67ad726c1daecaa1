"""All messages between processes: GPU child and worker, worker and front. Encoded and decoded here alone.

Parent and child talk in JSON lines over a socket; worker and front in JSON bodies of ``/internal``.
Both ends are always of one version, so an unknown field is a bug.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from bootstrap.choose.plan import Plan

Fraction = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(ge=0)]


CLIP = "clip"  # the kind of all jobs so far
DISK_FULL = "disk_full"  # of a run that failed: the worker holds its job, and no client gets to know it
STAGE_LENGTH = 64
Stage = Annotated[str, Field(max_length=STAGE_LENGTH)]


class Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


# -- what both roads carry -------------------------------------------------------------------------


class Span(Message):
    """Something that took its time. Seconds since the epoch; ``ended_at`` None: it still runs."""

    name: str
    started_at: float
    ended_at: float | None
    bytes: int | None = None
    waited_for: str | None = None


class Timings(Message):
    load_seconds: float | None = None
    spans: tuple[Span, ...] = ()


class Problem(Message):
    problem: str
    fix: str


class Clip(Message):
    """What is known of a finished clip; kept as the job's metadata."""

    model: str
    profile: str
    device: str
    kit_version: str
    seed: int
    frames: int
    bytes: int
    timings: dict[str, float]  # <stage>_seconds, and total_seconds
    peak_memory_bytes: int


# -- parent to child -------------------------------------------------------------------------------


class Run(Message):
    """Make a clip. ``values`` are those of ``services.parameters.Request``; the MP4 goes to ``path``."""

    kind: Literal["run"] = "run"
    values: dict[str, Any]
    image: Path | None
    path: Path
    job_id: str = ""  # for the log


class CancelRun(Message):
    kind: Literal["cancel"] = "cancel"


Order = Run | CancelRun


# -- child to parent -------------------------------------------------------------------------------


class Loading(Message):
    kind: Literal["loading"] = "loading"
    detail: str
    progress: Fraction | None = None
    timings: Timings = Timings()


class Ready(Message):
    kind: Literal["ready"] = "ready"
    detail: str
    timings: Timings


class LoadFailed(Message):
    kind: Literal["load_failed"] = "load_failed"
    problem: str
    fix: str


class Progress(Message):
    kind: Literal["progress"] = "progress"
    stage: Stage
    progress: Fraction
    eta_seconds: Seconds | None = None


class Done(Message):
    kind: Literal["done"] = "done"
    clip: Clip


class Cancelled(Message):
    kind: Literal["cancelled"] = "cancelled"


class Failed(Message):
    """``error_id`` is the number under which the log has the traceback of a bug."""

    kind: Literal["failed"] = "failed"
    code: str
    message: str
    error_id: str | None = None


Outcome = Done | Cancelled | Failed
Event = Loading | Ready | LoadFailed | Progress | Outcome

_orders: TypeAdapter[Order] = TypeAdapter(Annotated[Order, Field(discriminator="kind")])
_events: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="kind")])


def encode(message: Order | Event) -> bytes:
    """One line."""
    return message.model_dump_json().encode() + b"\n"


def decode_order(line: bytes) -> Order:
    return _orders.validate_json(line)


def decode_event(line: bytes) -> Event:
    return _events.validate_json(line)


# -- worker to front, and the front's answers ------------------------------------------------------


class WorkerReport(Message):
    """How a worker is. Sent when it changes, and every few seconds: it is the worker's own heartbeat."""

    state: Literal["loading", "ready", "failed"]
    detail: str | None = None
    progress: Fraction | None = None
    timings: Timings = Timings()
    profile: str | None = None
    failure: Problem | None = None
    plan: Plan | None = None  # of the model that the worker announces: a front can take in jobs for it


class Claim(Message):
    """Asks for a job that this worker can make: of these models and kinds, and in this memory."""

    worker: Annotated[str, Field(min_length=1, max_length=200)]
    models: tuple[str, ...]
    kinds: tuple[str, ...] = (CLIP,)
    vram_gib: float | None = None  # of its GPUs together; None without a GPU
    gpus: Annotated[int, Field(ge=1)] = 1
    hourly_cost: Annotated[float | None, Field(ge=0)] = None  # dollars, of this worker's part of its box
    wait_seconds: Seconds = 0


class Claimed(Message):
    """A job that the worker holds now. ``token`` is the fence: every message about the job carries it."""

    id: str
    token: int
    attempt: int
    kind: str
    model: str
    values: dict[str, Any]
    has_input: bool
    stall_seconds: Seconds  # without another stage or more progress
    timeout_seconds: Seconds | None  # for the whole attempt


class Beat(Message):
    token: int
    progress: Fraction | None = None
    stage: Stage | None = None
    eta_seconds: Seconds | None = None


class BeatAnswer(Message):
    cancel: bool


class JobError(Message):
    code: Annotated[str, Field(max_length=64)]
    message: str


class Finish(Message):
    token: int
    status: Literal["completed", "failed", "cancelled"]
    error: JobError | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)


class Release(Message):
    token: int


class ChildDied(Message):
    """The GPU child died while it made this job: the job's own fault, when it happens again."""

    token: int
    reason: str
