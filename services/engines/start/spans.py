"""What a start was spent on, for the boot's timeline: imports, waiting, and each file with its bytes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class Spans:
    """One record for each start; the engine's parts and its threads add to it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spans: dict[str, dict[str, Any]] = {}

    @contextmanager
    def span(self, name: str, *, nbytes: int | None = None, waited_for: str | None = None) -> Iterator[None]:
        """Record what is done inside; a failure is recorded too."""
        started = time.time()
        self.add(name, started, None, nbytes=nbytes, waited_for=waited_for)
        try:
            yield
        finally:
            self.add(name, started, time.time())

    def add(
        self,
        name: str,
        started_at: float,
        ended_at: float | None,
        *,
        nbytes: int | None = None,
        waited_for: str | None = None,
    ) -> None:
        """Times are seconds since the epoch. A name that is known already grows: its bytes are added up."""
        with self._lock:
            known = self._spans.setdefault(
                name, {"name": name, "started_at": started_at, "bytes": None, "waited_for": waited_for}
            )
            known["started_at"] = min(known["started_at"], started_at)
            known["ended_at"] = ended_at
            if nbytes is not None:
                known["bytes"] = (known["bytes"] or 0) + nbytes

    def so_far(self) -> list[dict[str, Any]]:
        with self._lock:
            return [dict(each) for each in self._spans.values()]


def file_name(path: Path) -> str:
    """How a file is called: "load unet/model.safetensors"."""
    return f"load {path.parent.name}/{path.name}"
