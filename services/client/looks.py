"""How a video is watched: as often as the service says, for as long as the caller says."""

from __future__ import annotations

import time

import httpx

from services.client.errors import VideoFailed
from services.client.objects import Video

POLL_AFTER = "openai-poll-after-ms"
USUAL_MS = 1000


class Looks:
    """``every_seconds`` None: as the service says."""

    def __init__(
        self, video_id: str, timeout_seconds: float | None, every_seconds: float | None = None
    ) -> None:
        self._every_seconds = every_seconds
        self._video_id = video_id
        self._until = None if timeout_seconds is None else time.monotonic() + timeout_seconds

    def wait_seconds(self, answer: httpx.Response) -> float:
        """Until the next look. Raises ``TimeoutError`` when there is no time for one."""
        value = answer.headers.get(POLL_AFTER, "")
        wait = self._every_seconds or int(value if value.isdigit() else USUAL_MS) / 1000
        if self._until is not None and time.monotonic() + wait > self._until:
            raise TimeoutError(f"video {self._video_id} has not ended; it goes on")
        return wait


def completed(video: Video) -> Video:
    """Raises ``VideoFailed`` when it is not."""
    if video.status == "completed":
        return video
    raise VideoFailed(
        video.error_message or "the video failed",
        code=video.error_code or "generation_failed",
        fix="ask for it again, or look at the service's log",
    )


def is_replay(answer: httpx.Response) -> bool:
    return str(answer.headers.get("idempotent-replayed")) == "true"
