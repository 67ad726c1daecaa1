"""The plan's files while they may still be on their way: nothing is read before it is there and verified."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bootstrap.launch import arrivals
from bootstrap.launch.arrivals import Arrivals
from services.engines.base import Start

LOOK_SECONDS = 0.05


class Arriving:
    """Waits for files. Raises the download's own ``KitError`` when what is waited for does not come."""

    def __init__(self, document: Path | None, start: Start) -> None:
        """``document`` is ``plan.arrivals``, which the boot writes before it starts whoever reads it; without
        one every file that is asked for is there."""
        self._document = document
        self._start = start
        self._now = Arrivals({})
        self._look()

    def wait(self, *places: Path) -> None:
        """Until each of these is verified: a file, or a folder with all that belongs in it."""
        for _ in self.batches({"": places}):
            """One batch, as there is one part."""

    def wait_for_all(self) -> None:
        """Until the whole download is done, the files that no part has asked for too."""
        self.wait(*self._now.files)

    def batches(self, parts: Mapping[str, Sequence[Path]]) -> Iterator[list[str]]:
        """The parts, each once: all whose files are there, in the order given, then those that come next."""
        left = dict(parts)
        while left:
            arrived = self._next(left)
            yield arrived
            left = {name: places for name, places in left.items() if name not in arrived}

    def is_coming(self, path: Path) -> bool:
        """Whether this file lies there already, or will when all have arrived."""
        return path in self._now.files or path.is_file()

    def nbytes(self, path: Path) -> int:
        """A file's size, also before it is there; 0 of one that does not exist, whose reader will say so."""
        coming = self._now.files.get(path)
        if coming is not None:
            return coming.bytes
        return path.stat().st_size if path.exists() else 0

    def _next(self, parts: Mapping[str, Sequence[Path]]) -> list[str]:
        began = time.time()
        before: dict[str, list[str]] = {}
        while True:
            missing = {name: self._missing(places) for name, places in parts.items()}
            arrived = [name for name, files in missing.items() if not files]
            if arrived:
                if before:
                    last = before[arrived[0]][-1]  # the file that ended the wait
                    self._start.spans.add(f"wait for {last}", began, time.time(), waited_for=last)
                return arrived
            if not before:
                self._start.report("wait", 0, 0)
            before = missing
            time.sleep(LOOK_SECONDS)
            self._look()

    def _missing(self, places: Sequence[Path]) -> list[str]:
        """By the manifest's names; a path that is none of the model's files is not waited for."""
        return [
            each.name
            for path, each in self._now.files.items()
            if not each.verified and any(path == place or place in path.parents for place in places)
        ]

    def _look(self) -> None:
        if self._document is not None:
            self._now = arrivals.read(self._document)
            if self._now.failure is not None:
                raise self._now.failure
