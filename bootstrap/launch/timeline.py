"""What each part of a boot took, what it moved, and what it waited for: a list of spans that grows.

A span as the boot document has it::

    {"name": "unet/model.safetensors", "track": "download", "started_at": 1760000000.0,
     "ended_at": 1760000009.5, "bytes": 950000000, "bytes_per_second": 100000000.0,
     "waited_for": null, "detail": null}

``track`` is who was busy: "kit", "packages", "download", or a worker's name. A span without an end is under
way. ``waited_for`` names the span that had to end first, or that this one did nothing but wait for.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from bootstrap.fetch.progress import FileProgress

KIT, PACKAGES, DOWNLOAD = "kit", "packages", "download"
WORKER_SPANS_AT_MOST = 64  # of one worker: they are kept, so they must not grow without end
START = "start"  # of a worker: from the agent's order to its first import
UNDER_WAY = ("running", "verifying")
LOCAL = "was on this box"  # the detail of a file that was not downloaded, but hashed where it lay


@dataclass(frozen=True)
class Span:
    """Times are seconds since the epoch."""

    name: str
    track: str
    started_at: float
    ended_at: float | None = None
    bytes: int | None = None
    waited_for: str | None = None
    detail: str | None = None

    @property
    def seconds(self) -> float | None:
        return None if self.ended_at is None else max(0.0, self.ended_at - self.started_at)

    def row(self) -> dict[str, Any]:
        """As the boot document has it."""
        seconds = self.seconds
        rate = self.bytes / seconds if self.bytes and seconds else None
        return {**asdict(self), "bytes_per_second": rate}


class Timeline:
    """Spans by track and name, in the order in which they began. Changes come from any thread."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._spans: dict[tuple[str, str], Span] = {}
        self._there_before: set[str] = set()  # files that were verified in an earlier boot

    def begin(
        self, name: str, track: str = KIT, *, at: float | None = None, waited_for: str | None = None
    ) -> None:
        with self._lock:
            started = self._clock() if at is None else at
            self._spans[track, name] = Span(name, track, started, waited_for=waited_for)

    def end(self, name: str, track: str = KIT, *, at: float | None = None, **known: Any) -> None:
        """``known``: bytes, detail. A span that never began is not made up."""
        with self._lock:
            span = self._spans.get((track, name))
            if span is not None and span.ended_at is None:
                now = self._clock() if at is None else at
                self._spans[track, name] = replace(span, ended_at=now, **known)

    def mark(self, name: str) -> None:
        """A moment without length, such as "ready"; the first one counts."""
        with self._lock:
            now = self._clock()
            self._spans.setdefault((KIT, name), Span(name, KIT, now, now))

    def has(self, name: str, track: str = KIT) -> bool:
        with self._lock:
            return (track, name) in self._spans

    def files(self, files: Iterable[FileProgress]) -> None:
        """Where the files of the download stand now."""
        with self._lock:
            now = self._clock()
            for file in files:
                self._file(file, now)

    def add_spans(self, worker: str, spans: Sequence[Mapping[str, Any]]) -> bool:
        """A worker's own spans; whether there is anything new in them."""
        with self._lock:
            before = dict(self._spans)
            start = self._spans.get((worker, START))
            if start is not None and start.ended_at is None and spans:
                self._spans[worker, START] = replace(start, ended_at=spans[0]["started_at"])
            for reported in spans[:WORKER_SPANS_AT_MOST]:
                known: dict[str, Any] = {key: reported[key] for key in REPORTED if key in reported}
                self._spans[worker, reported["name"]] = Span(track=worker, **known)
            return self._spans != before

    def close(self) -> None:
        """What is still under way ends now: the boot failed, or was ended."""
        with self._lock:
            now = self._clock()
            for key, span in self._spans.items():
                if span.ended_at is None:
                    self._spans[key] = replace(span, ended_at=now, detail=span.detail or "broken off")

    def rows(self) -> list[dict[str, Any]]:
        with self._lock:
            spans = list(self._spans.values())
        return [span.row() for span in sorted(spans, key=lambda each: each.started_at)]

    def _file(self, file: FileProgress, now: float) -> None:
        key = (DOWNLOAD, file.path)
        span = self._spans.get(key)
        if span is None:
            if file.state == "done":
                self._there_before.add(file.path)
            elif file.state in UNDER_WAY and file.path not in self._there_before:
                detail = LOCAL if file.state == "verifying" else None
                self._spans[key] = Span(file.path, DOWNLOAD, now, bytes=file.bytes_total, detail=detail)
        elif span.ended_at is None and file.state == "running":
            self._spans[key] = replace(span, detail=None)
        elif span.ended_at is None and file.state in ("done", "failed"):
            detail = "failed" if file.state == "failed" else span.detail
            self._spans[key] = replace(span, ended_at=now, detail=detail)


REPORTED = ("name", "started_at", "ended_at", "bytes", "waited_for", "detail")
