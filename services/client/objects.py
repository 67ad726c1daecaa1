"""What the service answers, as typed values. Fields that this version does not know are in ``raw``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Video:
    """Times are seconds since the epoch; ``progress`` is 0 to 100."""

    id: str
    status: str  # queued, in_progress, completed, failed
    progress: int
    model: str
    created_at: int
    completed_at: int | None
    prompt: str | None
    size: str  # WIDTHxHEIGHT
    seconds: str
    seed: int | None
    num_frames: int | None
    fps: int | None
    stage: str | None
    eta_seconds: float | None
    queue_position: int | None  # 1 is the next
    warnings: tuple[str, ...]
    error_code: str | None
    error_message: str | None
    raw: Mapping[str, Any] = field(repr=False)
    is_replay: bool = False  # the same request was answered before

    @property
    def has_ended(self) -> bool:
        return self.status not in ("queued", "in_progress")


@dataclass(frozen=True)
class Batch:
    id: str
    status: str  # in_progress, completed
    counts: Mapping[str, int]
    video_ids: tuple[str, ...]
    raw: Mapping[str, Any] = field(repr=False)
    is_replay: bool = False


@dataclass(frozen=True)
class Model:
    id: str
    title: str
    inputs: tuple[str, ...]
    defaults: Mapping[str, Any]
    parameters: Mapping[str, Mapping[str, Any]]  # each one's JSON schema
    raw: Mapping[str, Any] = field(repr=False)


SAME = (
    "id", "status", "progress", "model", "created_at", "completed_at", "prompt", "size", "seconds", "seed",
    "num_frames", "fps", "stage", "eta_seconds", "queue_position",
)  # fmt: skip


def video(raw: Mapping[str, Any], *, is_replay: bool = False) -> Video:
    error = raw.get("error") or {}
    same: dict[str, Any] = {name: raw.get(name) for name in SAME}
    return Video(
        **same,
        warnings=tuple(raw.get("warnings") or ()),
        error_code=error.get("code"),
        error_message=error.get("message"),
        raw=raw,
        is_replay=is_replay,
    )


def batch(raw: Mapping[str, Any], *, is_replay: bool = False) -> Batch:
    ids = tuple(each["id"] for each in raw["videos"])
    return Batch(raw["id"], raw["status"], raw["counts"], ids, raw, is_replay)


def model(raw: Mapping[str, Any]) -> Model:
    inputs = tuple(raw.get("inputs") or ())
    return Model(
        raw["id"], raw.get("title") or "", inputs, raw.get("defaults") or {}, raw.get("parameters") or {}, raw
    )
