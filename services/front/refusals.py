"""Every refusal that the API words itself: its status, its code, and what to do about it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from services.front.errors import ApiError
from services.queue.job import Job, OverAllowance

# OpenAI's clients repeat a request after such a status by themselves; this header prevents it.
NO_RETRY = {"x-should-retry": "false"}
SHARE_RETRY_SECONDS = 30


# -- which video ---------------------------------------------------------------------------------------


def no_video(video_id: str) -> ApiError:
    return ApiError(
        404,
        f"there is no video {video_id!r}",
        code="not_found",
        param="video_id",
        fix="list them with GET /v1/videos; it may have been deleted",
    )


def no_video_after(video_id: str | None) -> ApiError:
    return ApiError(
        404,
        f"there is no video {video_id!r} to go on after",
        code="not_found",
        param="after",
        fix="start again without after; it may have been deleted",
    )


def no_photo(job: Job) -> ApiError:
    return ApiError(
        404,
        f"video {job.id} has no photo",
        code="not_found",
        fix="has_input says whether there is one",
    )


def no_webhook(video_id: str) -> ApiError:
    return ApiError(
        404,
        f"video {video_id} has told nobody anything",
        code="no_webhook",
        fix="webhook_url names who is told when a video is asked for",
    )


def not_failed(job: Job) -> ApiError:
    return ApiError(
        409,
        f"video {job.id} is {job.status}: only one that failed or was cancelled is tried again",
        code="not_failed",
        param="video_id",
        fix="remix it for another clip, or wait until it has ended",
        headers=NO_RETRY,
    )


def photo_missing(job: Job) -> ApiError:
    return ApiError(
        404,
        f"the photo of video {job.id} is gone",
        code="content_missing",
        fix="somebody removed it from the data directory: ask for a new video",
    )


# -- its content ---------------------------------------------------------------------------------------


def no_content(job: Job) -> ApiError:
    """It failed, or it is not finished yet."""
    if job.status == "failed":
        return ApiError(
            404,
            f"video {job.id} failed: {job.error_message}",
            code=job.error_code or "generation_failed",
            fix="there is no content; ask for it again",
        )
    return ApiError(
        409,
        f"video {job.id} is not finished: {job.status}, {int(job.progress * 100)} %",
        code="not_finished",
        fix="ask again when its status is completed",
        headers=NO_RETRY,
    )


def content_missing(job: Job) -> ApiError:
    return ApiError(
        404,
        f"the file of video {job.id} is gone",
        code="content_missing",
        fix="somebody removed it from the data directory: make it again",
    )


def content_damaged(job: Job, reason: str) -> ApiError:
    return ApiError(
        409,
        f"no picture can be made of video {job.id}: its file cannot be read ({reason[:200]})",
        code="content_damaged",
        fix="look at the file itself, or make it again",
        headers=NO_RETRY,
    )


def expired(job: Job) -> ApiError:
    where = "make it again" if job.copied_to is None else f"its copy lies at {job.copied_to}"
    return ApiError(
        410,
        f"the files of video {job.id} were deleted to make room, or because of their age",
        code="expired",
        fix=where,
        headers=NO_RETRY,
    )


def file_gone() -> ApiError:
    return ApiError(
        404,
        "the file was deleted meanwhile",
        code="content_missing",
        fix="list what is there: GET /v1/videos",
    )


def failed(job: Job) -> ApiError:
    """To a client that waited for the content."""
    return ApiError(
        500,
        job.error_message or "it failed",
        code=job.error_code or "generation_failed",
        fix=f"look at GET /v1/videos/{job.id}",
        headers=NO_RETRY,
    )


def still_running(video_id: str) -> ApiError:
    return ApiError(
        504,
        f"video {video_id} is not finished, and no answer may take longer here",
        code="still_running",
        fix=f"it goes on: ask GET /v1/videos/{video_id}",
        headers=NO_RETRY,
    )


def wrong_link() -> ApiError:
    return ApiError(
        403,
        "this link is not of this service, or was ended",
        code="wrong_link",
        fix="ask for a new one with POST /v1/videos/{id}/link",
    )


def link_ended(expired_at: int) -> ApiError:
    return ApiError(
        410,
        f"this link ended at {expired_at} (seconds since 1970)",
        code="link_ended",
        fix="ask for a new one with POST /v1/videos/{id}/link",
    )


# -- what is asked for ---------------------------------------------------------------------------------


def not_offered(problem: str, *, fix: str) -> ApiError:
    return ApiError(
        501,
        problem,
        code="not_offered",
        fix=fix,
        headers=NO_RETRY,
    )


def other_model(model: str | None, *, fix: str) -> ApiError:
    return ApiError(
        404,
        f"the model {model!r} does not run here",
        code="model_not_found",
        param="model",
        fix=fix,
    )


def unread_type(kind: str) -> ApiError:
    return ApiError(
        415,
        f"a body of type {kind} is not read",
        code="unsupported_media_type",
        fix="send application/json or multipart/form-data",
    )


def body_too_large(max_mib: float) -> ApiError:
    return ApiError(
        413,
        f"the body is larger than {max_mib:.0f} MiB",
        code="body_too_large",
        param="input_reference",
        fix="make the image smaller: clips are far below 4 megapixels",
        headers={"Connection": "close"},
    )


def text_too_large(max_bytes: int) -> ApiError:
    return ApiError(
        413,
        f"the body holds more than {max_bytes / 1024**2:g} MiB beside its image",
        code="body_too_large",
        fix="send the image as input_reference, and nothing else that is long",
    )


def body_too_slow(seconds: float) -> ApiError:
    return ApiError(
        408,
        f"the body stopped for {seconds:.0f} s, or takes too long",
        code="body_too_slow",
        fix="send it again over a faster line, or make the image smaller",
        headers={"Connection": "close"},
    )


def too_many_uploads(most: int, *, retry_seconds: int) -> ApiError:
    return ApiError(
        503,
        f"{most} large bodies are being taken in, which is as many as may",
        code="too_many_uploads",
        fix=f"try again in {retry_seconds} s",
        headers={"Retry-After": str(retry_seconds), "Connection": "close"},
    )


def video_too_large(max_mib: float) -> ApiError:
    return ApiError(
        413,
        f"the video is larger than {max_mib:.0f} MiB",
        code="video_too_large",
        param="video",
        fix="cut it to the part that you mean",
        headers={"Connection": "close"},
    )


def key_too_long(max_characters: int) -> ApiError:
    return ApiError(
        400,
        f"the idempotency key is longer than {max_characters} characters",
        code="invalid_value",
        param="Idempotency-Key",
        fix="a UUID is enough",
    )


def key_reused() -> ApiError:
    return ApiError(
        409,
        "this idempotency key was used for another request",
        code="idempotency_conflict",
        param="Idempotency-Key",
        fix="use a new key for a new request",
        headers=NO_RETRY,
    )


def key_in_progress() -> ApiError:
    return ApiError(
        409,
        "a request with this idempotency key is being taken in at this moment",
        code="idempotency_in_progress",
        param="Idempotency-Key",
        fix="send it again in a second: it is answered with what the first one made",
        headers={"Retry-After": "1"},
    )


def nothing_changed() -> ApiError:
    return ApiError(
        400,
        "a remix needs a change: this one would be the same clip again",
        code="nothing_changed",
        param="prompt",
        fix="send another prompt, photo, seed or parameter",
    )


def wrong_batch(wrong: Sequence[Mapping[str, Any]], total: int) -> ApiError:
    """``wrong``: what is wrong with each of the requests that cannot be taken."""
    return ApiError(
        400,
        f"{len(wrong)} of {total} requests cannot be taken, so none was; the first has the index "
        f"{wrong[0]['index']}",
        code="invalid_batch",
        param="requests",
        fix="correct those that errors names (index counts from 0), and send all again",
        items=wrong,
    )


def no_batch(batch_id: str) -> ApiError:
    return ApiError(
        404,
        f"there is no batch {batch_id!r}",
        code="not_found",
        param="batch_id",
        fix="its videos may have been deleted; list videos with GET /v1/videos",
    )


# -- not now -------------------------------------------------------------------------------------------


def boot_failed(failure: Mapping[str, Any]) -> ApiError:
    return ApiError(
        503,
        str(failure.get("problem", "the start failed")),
        code="boot_failed",
        fix=str(failure.get("fix", "look at /status")),
        headers={"Retry-After": "60"},
    )


def not_ready(state: str, *, retry_seconds: int) -> ApiError:
    return ApiError(
        503,
        f"the model is not there yet (state: {state})",
        code="not_ready",
        fix="try again in a while; GET /readyz says when",
        headers={"Retry-After": str(retry_seconds)},
    )


def queue_full(queued: int, *, retry_seconds: int, all_seconds: float | None) -> ApiError:
    """``all_seconds``: how long those that wait take together, where that is known."""
    about = "" if all_seconds is None else f"; they take about {all_seconds:.0f} s"
    return ApiError(
        429,
        f"{queued} videos are waiting, which is as many as may{about}",
        code="queue_full",
        fix=f"try again in {retry_seconds} s, or cancel some",
        headers={"Retry-After": str(retry_seconds)},
    )


def disk_full(problem: str, fix: str) -> ApiError:
    return ApiError(507, problem, code="disk_full", fix=fix, headers={"Retry-After": "60"})


def stopping(problem: str, fix: str) -> ApiError:
    return ApiError(503, problem, code="stopping", fix=fix, headers={"Retry-After": "30"})


# -- what a key may --------------------------------------------------------------------------------------


def priority_not_allowed(priority: int) -> ApiError:
    return ApiError(
        403,
        f"this key may not go before others: priority {priority} is over 0",
        code="not_permitted",
        param="priority",
        fix="leave priority out, or use a key with the scope admin",
    )


def over_allowance(over: OverAllowance) -> ApiError:
    """The key's share of the queue is full, or its day is used up."""
    if over.kind == "queued":
        return ApiError(
            429,
            f"{over.used:g} videos of this key are waiting, which is as many as may",
            code="share_full",
            fix="try again when one has ended, or cancel some",
            headers={"Retry-After": str(SHARE_RETRY_SECONDS)},
        )
    what = "clips" if over.kind == "clips" else "GPU seconds"
    wait = math.ceil(over.left_seconds)
    return ApiError(
        429,
        f"this key has used {over.used:g} of the {over.allowed:g} {what} that it may use in a day",
        code="quota_used",
        fix=f"try again in {wait} s, when a new day of UTC begins, or ask the owner for more",
        headers={"Retry-After": str(wait), **NO_RETRY},
    )
