"""What ``bootstrap.fetch.fetch`` was asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bootstrap.choose.manifest import Manifest
from bootstrap.fetch.transfers.patience import Patience
from bootstrap.fetch.twins import Twins


@dataclass(frozen=True)
class Request:
    """See ``bootstrap.fetch.fetch`` for what the fields mean."""

    manifest: Manifest
    home: Path
    token: str | None
    endpoint: str
    mirrors: tuple[str, ...]
    downloader: str
    verify: bool
    connections: int | None
    twins: Twins  # the same contents elsewhere in the store
    host_tokens: Mapping[str, str] = field(default_factory=dict)
    patience: Patience = field(default_factory=Patience)
    arrived: Callable[[Path], None] = lambda _: None
    still_ours: Callable[[], None] = lambda: None  # raises lease.Lost when another fetches into the folder
