"""The objects that clients see: OpenAI's fields exactly, ours after them."""

from __future__ import annotations

import time
from typing import Any, Literal

from pydantic import BaseModel

from services.front.answers import estimates
from services.queue import cost
from services.queue.job import Job, Status
from services.queue.line import Place

EXAMPLE: dict[str, Any] = {
    "id": "video_0", "object": "video", "model": "wan22", "status": "queued", "progress": 0,
    "created_at": 1760000000, "completed_at": None, "expires_at": None, "size": "832x480", "seconds": "5.06",
    "prompt": "a paper boat on a pond", "remixed_from_video_id": None, "error": None, "seed": 7,
    "num_frames": 81, "fps": 16, "parameters": {"width": 832, "height": 480, "num_frames": 81, "seed": 7},
    "has_input": False, "warnings": [], "stage": None, "eta_seconds": 41.5, "queue_position": 1, "attempt": 0,
    "cancel_requested": False, "timings": {"queued_seconds": None, "run_seconds": None}, "metadata": {},
    "copied_to": None,
}  # fmt: skip


class VideoError(BaseModel):
    code: str
    message: str


class WebhookState(BaseModel):
    """What became of a job's latest message."""

    event: str
    state: Literal["waiting", "delivered", "failed"]
    attempts: int
    last_status: int | None  # what the receiver answered last
    last_error: str | None


class CopyState(BaseModel):
    """How the copy out of the box stands; one that fails is tried again."""

    state: Literal["copying", "copied", "failing"]
    attempts: int
    last_error: str | None = None


class VideoCost(BaseModel):
    """Of the attempts that have ended, failed ones included."""

    gpu_seconds: float
    dollars: float | None  # by the price of the box at that time; None: nobody said what it costs


class Video(BaseModel):
    """A job. The first block is OpenAI's."""

    id: str
    object: Literal["video"] = "video"
    model: str
    status: Status
    progress: int  # 0 to 100
    created_at: int
    completed_at: int | None
    expires_at: int | None
    size: str
    seconds: str
    prompt: str | None
    remixed_from_video_id: str | None
    error: VideoError | None

    seed: int | None
    num_frames: int | None
    fps: int | None
    parameters: dict[str, Any]  # all of them, as they are run
    has_input: bool  # its photo is at /content?variant=input
    warnings: list[str]
    stage: str | None
    eta_seconds: float | None
    queue_position: int | None  # 1 is the next; None when it does not wait
    attempt: int
    cancel_requested: bool
    timings: dict[str, float | None]
    cost: VideoCost | None
    metadata: dict[str, Any]  # what the worker measured of the finished clip
    expired_at: int | None  # since when there is no content any more
    copied_to: str | None  # where the clip is kept outside of the box as well
    copying: CopyState | None  # None: nothing is copied, or not yet
    url: str | None  # of the copy: who has it can fetch the clip until url_expires_at
    url_expires_at: int | None
    webhook: WebhookState | None  # None: nobody is to be told of it, or nothing has happened yet


class VideoList(BaseModel):
    object: Literal["list"] = "list"
    data: list[Video]
    first_id: str | None
    last_id: str | None
    has_more: bool


class VideoDeleted(BaseModel):
    id: str
    object: Literal["video.deleted"] = "video.deleted"
    deleted: Literal[True] = True


def video(
    job: Job,
    place: Place | None,
    *,
    now: float,
    keep_seconds: float | None = None,
) -> Video:
    """``place``: where it stands in the queue; ``now``: in seconds since the epoch, for what is left."""
    values = job.values
    frames, fps = values.get("num_frames"), values.get("fps")
    error = None
    if job.status == "failed":
        error = VideoError(code=job.error_code or "generation_failed", message=job.error_message or "")
    end = estimates.ends_at(job, place)
    return Video(
        id=job.id,
        model=job.model,
        status=job.status,
        progress=100 if job.status == "completed" else min(int(round(job.progress * 100, 6)), 99),
        created_at=int(job.created_at),
        completed_at=None if job.completed_at is None else int(job.completed_at),
        expires_at=_expires(job, keep_seconds),
        size=f"{values.get('width')}x{values.get('height')}",
        seconds=f"{round(frames / fps, 2):g}" if frames and fps else "",
        prompt=job.prompt,
        remixed_from_video_id=job.remixed_from,
        error=error,
        seed=values.get("seed"),
        num_frames=frames,
        fps=fps,
        parameters=values,
        has_input=job.input_name is not None,
        warnings=job.warnings,
        stage=job.stage,
        eta_seconds=None if end is None else round(max(end - now, 0.0), 1),
        queue_position=place.position if place is not None and job.status == "queued" else None,
        attempt=job.attempts,
        cancel_requested=job.cancel_requested,
        timings=_timings(job),
        cost=_cost(job),
        metadata=job.metadata,
        expired_at=None if job.expired_at is None else int(job.expired_at),
        copied_to=job.copied_to,
        copying=None if job.copy_state is None else CopyState.model_validate(job.copy_state),
        **_link(job),
        webhook=None if job.webhook_state is None else WebhookState(**job.webhook_state),
    )


def _cost(job: Job) -> VideoCost | None:
    found = cost.of(job)
    return None if found is None else VideoCost(gpu_seconds=found.gpu_seconds, dollars=found.dollars)


def _expires(job: Job, keep_seconds: float | None) -> int | None:
    if job.expired_at is not None:
        return int(job.expired_at)
    if keep_seconds is None or job.completed_at is None:
        return None
    return int(job.completed_at + keep_seconds)


def _link(job: Job) -> dict[str, Any]:
    state = job.copy_state or {}
    url, expires_at = state.get("url"), state.get("expires_at")
    if url is None or expires_at is None or expires_at <= time.time():
        return {"url": None, "url_expires_at": None}
    return {"url": url, "url_expires_at": int(expires_at)}


def _timings(job: Job) -> dict[str, float | None]:
    def between(start: float | None, end: float | None) -> float | None:
        return None if start is None or end is None else round(end - start, 3)

    return {
        "queued_seconds": between(job.created_at, job.started_at),
        "run_seconds": between(job.started_at, job.completed_at),
    }
