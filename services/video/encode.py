"""Frames to an MP4 that plays everywhere: H.264, yuv420p, index first. Encodes while frames still arrive."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from bootstrap.errors import KitError
from services.video.metadata import Metadata

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# 17 is near what the eye can tell. At this quality "veryfast" makes files as small as "medium" does, in a
# third of the time: measured on noise and on moving patterns.
CRF = "17"
PRESET = "veryfast"
BT709, LIMITED_RANGE = 1, 1  # numbers of the H.264 standard
WAITING_FRAMES = 32  # the bound of the queue: a slow encoder slows the maker instead of filling memory


class Writer:
    """Takes frames one by one and encodes them in a thread of its own. Use as a context manager.

    The file gets its name only when the block ends without an error; until then it is ``<name>.part``.
    """

    def __init__(self, path: Path, *, fps: int, metadata: Metadata) -> None:
        self.frames = 0
        self._path = path
        self._part = path.with_name(path.name + ".part")
        self._fps = fps
        self._metadata = metadata
        self._queue: queue.Queue[NDArray[np.uint8] | None] = queue.Queue(WAITING_FRAMES)
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._encode, name="encode", daemon=True)
        self._shape: tuple[int, ...] | None = None

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def add(self, frame: NDArray[np.uint8]) -> None:
        """Add one RGB frame, uint8 [height, width, 3]: even sizes, and all like the first."""
        if self._shape is None:
            height, width = frame.shape[:2]
            if width % 2 or height % 2:
                raise KitError(
                    f"a clip of {width}x{height} cannot be H.264", fix="choose an even width and height"
                )
            self._shape = frame.shape
        if frame.shape != self._shape:
            raise ValueError(f"frame {self.frames} is {frame.shape}, the first was {self._shape}")
        self._put(frame)
        self.frames += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._put(None)
        self._thread.join()
        if kind is None and self._failure is None and self.frames == 0:
            self._failure = ValueError("no frame was given")
        if kind is not None or self._failure is not None:
            self._part.unlink(missing_ok=True)
        if kind is None:
            if self._failure is not None:
                raise self._failure
            self._part.replace(self._path)

    def _put(self, frame: NDArray[np.uint8] | None) -> None:
        while True:
            if self._failure is not None or not self._thread.is_alive():
                if frame is None:
                    return
                raise self._failure or RuntimeError("the encoder ended early")
            try:
                self._queue.put(frame, timeout=0.5)
            except queue.Full:
                continue
            return

    def _encode(self) -> None:
        try:
            first = self._queue.get()
            if first is not None:
                self._mux(first)
        except BaseException as error:  # handed to the thread that adds frames
            self._failure = _explained(error, self._part)

    def _mux(self, first: NDArray[np.uint8]) -> None:
        import av  # loads FFmpeg's libraries: only when a clip is made

        options = {"movflags": "+faststart+use_metadata_tags"}
        with av.open(str(self._part), "w", format="mp4", options=options) as container:
            container.metadata.update(self._metadata.tags())
            stream = container.add_stream("libx264", rate=self._fps, options={"crf": CRF, "preset": PRESET})
            stream.height, stream.width = first.shape[:2]
            stream.pix_fmt = "yuv420p"
            stream.time_base = stream.codec_context.time_base = Fraction(1, self._fps)
            codec = stream.codec_context
            codec.thread_type = "FRAME"
            # Written into the file: without it players guess from the size, and differently.
            codec.colorspace = codec.color_primaries = codec.color_trc = BT709
            codec.color_range = LIMITED_RANGE
            index, frame = 0, first
            while frame is not None:
                picture = av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(
                    format="yuv420p", dst_colorspace=BT709, dst_color_range=LIMITED_RANGE
                )
                picture.pts = index
                container.mux(stream.encode(picture))
                index += 1
                following = self._queue.get()
                if following is None:
                    break
                frame = following
            container.mux(stream.encode(None))


def _explained(error: BaseException, path: Path) -> BaseException:
    if isinstance(error, OSError):
        explained = KitError(
            f"the clip cannot be written to {path.parent}: {error.strerror or error}",
            fix="free some space, or choose another folder",
        )
        explained.__cause__ = error
        return explained
    return error


def write(frames: Iterable[NDArray[np.uint8]], path: Path, *, fps: int, metadata: Metadata) -> int:
    """Encode ``frames`` as they come; returns how many there were. Nothing is left when it fails.

    Raises:
        KitError: odd sizes, or the file cannot be written.
    """
    with Writer(path, fps=fps, metadata=metadata) as writer:
        for frame in frames:
            writer.add(frame)
    return writer.frames
