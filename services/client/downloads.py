"""A clip on its way into a file: what has arrived is kept, and the file gets its name when it is whole."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import httpx


class Download:
    """``head`` is the answer to HEAD: it tells which content it is, and how long."""

    def __init__(self, target: Path, head: httpx.Response) -> None:
        self._tag = head.headers.get("etag", "")
        self._size = int(head.headers["content-length"])
        self._target = target
        # A part of another content has another name.
        mark = hashlib.sha256(self._tag.encode()).hexdigest()[:12]
        self._part = target.with_name(f".{target.name}.{mark}.part")

    @property
    def is_whole(self) -> bool:
        return self._have() == self._size

    def headers(self) -> dict[str, str]:
        """For the next request: the rest alone, if it is still the same content."""
        have = self._have()
        if not have or not self._tag:
            return {}
        return {"Range": f"bytes={have}-", "If-Range": self._tag}

    def begin(self, answer: httpx.Response) -> None:
        """Before the bytes of an answer come: one without a range starts again."""
        if answer.status_code != 206:
            self._part.write_bytes(b"")

    def add(self, data: bytes) -> None:
        with self._part.open("ab") as file:
            file.write(data)

    def finish(self) -> Path:
        with self._part.open("rb") as file:
            os.fsync(file.fileno())
        self._part.replace(self._target)
        return self._target

    def _have(self) -> int:
        have = self._part.stat().st_size if self._part.exists() else 0
        if have > self._size:
            self._part.unlink()
            return 0
        return have
