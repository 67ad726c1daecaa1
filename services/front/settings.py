"""What the front received when it started; nothing here changes while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bootstrap.launch import listener
from services.front.results import clip_names, webhook_messages
from services.front.results.readers import GRACE_SECONDS
from services.parameters import images
from services.queue.job import LEASE_SECONDS

MIB = 1024**2
DAY_SECONDS = 24 * 3600
STALL_SECONDS = 300.0
MAX_QUEUED = 100  # more is refused, so that nobody waits for hours without knowing it


@dataclass(frozen=True)
class Settings:
    data_dir: Path
    service: Literal["api", "ui"] = "api"
    port: int = 0
    auth: bool = True  # the token is asked for; off only where nobody else can reach the port
    only_local: bool = False  # the port is bound to this machine alone
    allowed_hosts: tuple[str, ...] = ()  # names that people use beside those that requests and the boot tell
    database_url: str | None = None  # None: jobs.db in the data directory
    max_queued: int = MAX_QUEUED
    min_free_disk_mib: float | None = None  # with less the disk counts as full; None: by its size
    max_image_bytes: int = images.MAX_BYTES
    lease_seconds: float = LEASE_SECONDS  # a job whose worker has been silent for so long is taken back
    max_content_bytes: int = 4096 * MIB
    purge_seconds: float = 600.0  # between two looks for what is too old or nobody's
    tls_certificate: Path | None = None  # with its key: the port speaks TLS
    tls_key: Path | None = None
    cors_origins: tuple[str, ...] = ()  # of pages elsewhere that may ask; "*" for any
    frame_ancestors: tuple[str, ...] = ()  # of pages elsewhere that may show ours in a frame
    results_url: str | None = None  # where finished clips are copied to
    results_endpoint_url: str | None = None  # an S3 that is not Amazon's; None: as the environment says
    results_name: str = clip_names.TEMPLATE
    results_link_hours: float = 24.0  # that a link to a copy holds; 0: there are none
    webhook_url: str | None = None  # who is told of every job that names nobody itself
    webhook_secret: str | None = None  # None: one is made, in the data directory
    webhook_format: webhook_messages.Format = "openai"
    webhook_events: tuple[str, ...] = webhook_messages.AT_THE_END
    webhook_pause_seconds: float = 5.0  # before the second try; each further one is longer
    webhook_timeout_seconds: float = 15.0  # for the receiver's answer
    webhook_give_up_seconds: float = 72 * 3600.0
    stall_seconds: float = STALL_SECONDS  # a clip in which nothing moves for so long fails
    job_timeout_seconds: float | None = None  # a clip that takes longer fails; None: none does
    metrics: Literal["token", "open", "off"] = "token"  # who may read /metrics
    remote_images: tuple[str, ...] = ("https",)  # which photos are fetched by their address
    private_hosts: tuple[str, ...] = ()  # that addresses in requests may name, beside public ones
    keep_seconds: float | None = None  # clips lose their files after this; None: kept for ever
    keep_gib: float | None = None  # that the files of all jobs may take; the oldest go
    make_room_gib: float | None = None  # that stay free on their disk; the oldest go
    keep_grace_seconds: float = 3600.0  # after its end a clip stays, however full the disk is
    read_grace_seconds: float = GRACE_SECONDS  # after it was read

    @classmethod
    def of(cls, resolved: Mapping[str, Any], *, data_dir: Path, host: str, port: int) -> Settings:
        """``resolved``: values of ``bootstrap.settings`` by name; ``host`` and ``port`` as they are bound.

        Auth that nobody decided is on unless only this machine can reach the port.
        """
        keep_days = resolved.get("keep_days")
        return cls(
            data_dir=data_dir.absolute(),
            service=resolved.get("service", "api"),
            port=port,
            auth=listener.asks_for_token(resolved.get("auth", "auto"), host),
            only_local=listener.is_loopback(host),
            allowed_hosts=tuple(resolved.get("allowed_hosts", ())),
            database_url=resolved.get("database_url"),
            max_queued=resolved.get("max_queued", MAX_QUEUED),
            min_free_disk_mib=resolved.get("min_free_disk_mib"),
            tls_certificate=_path(resolved.get("tls_certificate")),
            tls_key=_path(resolved.get("tls_key")),
            cors_origins=tuple(resolved.get("cors_origins", ())),
            frame_ancestors=tuple(resolved.get("frame_ancestors", ())),
            results_url=resolved.get("results_url"),
            results_endpoint_url=resolved.get("results_endpoint_url"),
            results_name=resolved.get("results_name", clip_names.TEMPLATE),
            results_link_hours=resolved.get("results_link_hours", 24.0),
            webhook_url=resolved.get("webhook_url"),
            webhook_secret=resolved.get("webhook_secret"),
            webhook_format=resolved.get("webhook_format", "openai"),
            webhook_events=tuple(resolved.get("webhook_events", webhook_messages.AT_THE_END)),
            metrics=resolved.get("metrics", "token"),
            remote_images=tuple(resolved.get("remote_images", ("https",))),
            private_hosts=tuple(name.strip().lower() for name in resolved.get("private_hosts", ())),
            stall_seconds=resolved.get("stall_seconds", STALL_SECONDS),
            job_timeout_seconds=resolved.get("job_timeout_seconds"),
            keep_gib=resolved.get("keep_gib"),
            make_room_gib=resolved.get("make_room_gib"),
            keep_seconds=None if keep_days is None else keep_days * DAY_SECONDS,
        )

    @property
    def token_file(self) -> Path:
        return self.data_dir / "token"

    @property
    def worker_token_file(self) -> Path:
        return self.data_dir / "worker-token"

    @property
    def is_shared(self) -> bool:
        """Other fronts may use the same queue, whose jobs and leases no notifier here tells of."""
        return self.database_url is not None

    @property
    def queue_url(self) -> str:
        return self.database_url or f"sqlite:///{self.data_dir / 'jobs.db'}"


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)
