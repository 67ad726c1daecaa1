"""What the front was told when it started; nothing here changes while it runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

MIB = 1024**2
MAX_IMAGE_BYTES = 25 * MIB
MAX_QUEUED = 100  # more is refused, so that nobody waits for hours without knowing it


@dataclass(frozen=True)
class Settings:
    data_dir: Path
    service: Literal["api", "ui"] = "api"
    port: int = 0
    auth: bool = True  # the token is asked for; off only where nobody else can reach the port
    database_url: str | None = None  # None: jobs.db in the data directory
    max_queued: int = MAX_QUEUED
    max_image_bytes: int = MAX_IMAGE_BYTES
    max_content_bytes: int = 4096 * MIB
    keep_seconds: float | None = None  # finished videos are purged after this; None: kept for ever

    @property
    def token_file(self) -> Path:
        return self.data_dir / "token"

    @property
    def worker_token_file(self) -> Path:
        return self.data_dir / "worker-token"

    @property
    def queue_url(self) -> str:
        return self.database_url or f"sqlite:///{self.data_dir / 'jobs.db'}"
