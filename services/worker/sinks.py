"""Where frames go. A sink is a stage that hands on what it keeps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from services.engines.base import Frame, Shape
from services.video import encode
from services.video.metadata import Metadata


class File:
    """An MP4, encoded while frames still arrive. It gets its name when it is whole."""

    name = "file"

    def __init__(self, path: Path, metadata: Metadata) -> None:
        self._path = path
        self._metadata = metadata

    def shape(self, given: Shape) -> Shape:
        return given

    def run(self, frames: Iterator[Frame], given: Shape) -> Iterator[Frame]:
        with encode.Writer(self._path, fps=given.fps, metadata=self._metadata) as writer:
            for frame in frames:
                writer.add(frame)
                yield frame
