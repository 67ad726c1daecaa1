"""The clips of a rented box, by its own API: how many there are, and copies of them on this machine."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

from bootstrap import files
from bootstrap.errors import KitError

PAGE = 100
TRIES = 5
ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class BoxError(KitError):
    """The box does not answer as it should."""


@dataclass(frozen=True)
class Clip:
    """A finished clip on the box. ``settings`` is all that the box says of it."""

    id: str
    created_at: int
    settings: dict[str, Any]

    @property
    def name(self) -> str:
        """Without an ending; sorted by name is sorted by time (UTC)."""
        return f"{datetime.fromtimestamp(self.created_at, UTC):%Y%m%d-%H%M%S}-{self.id}"


@dataclass(frozen=True)
class Clips:
    """What the box has: finished clips, and how many are still to come."""

    finished: tuple[Clip, ...]
    coming: int

    def missing(self, pulled: tuple[str, ...]) -> tuple[Clip, ...]:
        return tuple(clip for clip in self.finished if clip.id not in set(pulled))


# A box that is watched, and that nobody uses, must still stop by itself: looking is no use, copying is.
UNATTENDED = {"X-Kinokit-Unattended": "1"}


class Box:
    """A client of one box. ``url`` and ``token`` are the box's own."""

    def __init__(self, url: str, token: str | None, timeout_seconds: float = 60) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout_seconds)

    def __enter__(self) -> Box:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def clips(self) -> Clips:
        """All of them, oldest first. BoxError when the box does not say."""
        rows = list(self._rows())
        there = [row for row in rows if row.get("status") == "completed" and not row.get("expired_at")]
        finished = [clip for row in there if (clip := _clip(row))]
        coming = sum(row.get("status") in ("queued", "in_progress") for row in rows)
        return Clips(tuple(finished), coming)

    def copy(self, clip: Clip, folder: Path) -> Path:
        """Its MP4 and its settings as JSON. What arrived of an earlier try is kept; the length is verified.

        BoxError when the box does not give it; KitError when the folder cannot be written.
        """
        path = folder / f"{clip.name}.mp4"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                self._download(clip, path)
            text = json.dumps(clip.settings, indent=1, ensure_ascii=False) + "\n"
            files.replace_text(path.with_suffix(".json"), text)
        except OSError as error:
            raise KitError(
                f"{path} cannot be written: {error.strerror or error}",
                fix="free space there, or give another folder with --to",
            ) from error
        return path

    def _rows(self) -> Iterator[dict[str, Any]]:
        after: str | None = None
        while True:
            query = {"order": "asc", "limit": str(PAGE)}
            if after:
                query["after"] = after
            try:
                answer = self._http.get("/v1/videos", params=query, headers=UNATTENDED)
                page = self._good(answer).json()
                rows = page["data"]
            except (httpx.HTTPError, ValueError, LookupError, TypeError) as error:
                raise BoxError(
                    f"the box does not list its clips ({type(error).__name__})", fix="try again in a minute"
                ) from error
            yield from (row for row in rows if isinstance(row, dict))
            if not page.get("has_more") or page.get("last_id") in (None, after):
                return
            after = str(page["last_id"])

    def _download(self, clip: Clip, path: Path) -> None:
        part = path.with_suffix(".mp4.part")
        problem, tries = "", TRIES
        while tries:
            had = _size(part)
            try:
                problem = self._continue(clip, part)
            except httpx.HTTPError as error:
                problem = type(error).__name__
            if not problem:
                part.replace(path)
                return
            tries = TRIES if _size(part) > had else tries - 1  # a line that gives something is worth more
        raise BoxError(
            f"the clip {clip.id} did not arrive whole: {problem}",
            fix="what arrived is kept; `kinokit rent pull` goes on from there",
        )

    def _continue(self, clip: Clip, part: Path) -> str:
        """Fetch what is missing. Empty when the whole clip is on the disk, else what is wrong."""
        have = _size(part)
        headers = {"Range": f"bytes={have}-"} if have else {}
        with self._http.stream("GET", f"/v1/videos/{clip.id}/content", headers=headers) as answer:
            if answer.status_code == 416:  # nothing is left, or the part is none of this clip
                part.unlink()
                return "it was begun anew"
            total = _total(self._good(answer), have)
            if total is None:
                return "the box does not say its length"
            with part.open("ab" if answer.status_code == 206 else "wb") as file:
                for piece in answer.iter_raw():
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())  # the box may be gone a moment later
        size = part.stat().st_size
        if size > total:
            part.unlink()
        return "" if size == total else f"{size} of {total} bytes"

    def _good(self, answer: httpx.Response) -> httpx.Response:
        if answer.status_code in (401, 403):
            raise BoxError("the box refuses the token", fix="give the box's own with --token")
        if not answer.is_success:
            raise BoxError(f"the box answers {answer.status_code}", fix="try again in a minute")
        return answer


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _total(answer: httpx.Response, have: int) -> int | None:
    """The whole clip's bytes. None when the answer does not say, or goes on from another place."""
    if answer.status_code == 206:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", answer.headers.get("Content-Range", ""))
        return int(found[2]) if found and int(found[1]) == have else None
    length = answer.headers.get("Content-Length", "")
    return int(length) if length.isdecimal() and "Content-Encoding" not in answer.headers else None


def _clip(row: dict[str, Any]) -> Clip | None:
    """None for an id that is no plain name: the box stands at a stranger's."""
    id, created = str(row.get("id")), row.get("created_at")
    return Clip(id, int(created), row) if ID.fullmatch(id) and isinstance(created, int | float) else None
