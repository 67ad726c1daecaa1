"""One frame of a video that somebody sent, as PNG, read in a process of its own with limits.

python -m services.video.frame FILE first|last|SECONDS > frame.png

A decoder is large, and files are made to break it: memory, processor time, frames and pixels are bounded,
and a crash ends this process alone. One frame is held at a time. What is wrong is one JSON object on
standard error.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from av import VideoFrame

MAX_PIXELS = 4096 * 2304  # of one frame
MAX_FRAMES = 10_000  # several minutes
CPU_SECONDS = 30
WALL_SECONDS = 60.0
MEMORY_BYTES = 4 * 1024**3
REFUSED = 3  # exit code: standard error says why


class Unread(Exception):
    """There is no frame to be had; says why, and what to do."""

    def __init__(self, problem: str, fix: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.fix = fix


def read(file: Path, which: str) -> bytes:
    """The frame as PNG, as a person sees it: ``first``, ``last``, or the one at so many seconds.

    Blocks for as long as the decoding takes. Raises ``Unread``.
    """
    command = [sys.executable, "-m", "services.video.frame", str(file), which]
    try:
        done = subprocess.run(command, capture_output=True, timeout=WALL_SECONDS, env=_environment())
    except subprocess.TimeoutExpired:
        raise _too_long() from None
    if done.returncode == 0:
        return done.stdout
    if done.returncode == REFUSED:
        raise Unread(**json.loads(done.stderr))
    if done.returncode in (-24, -9):  # SIGXCPU, SIGKILL: its time is over
        raise _too_long()
    raise Unread("the video cannot be decoded", "convert it to an MP4 with H.264")


def _environment() -> dict[str, str]:
    """Python finds this module, and numeric libraries start no threads, which memory limits count."""
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join(each for each in (root, os.environ.get("PYTHONPATH", "")) if each)
    return {**os.environ, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


def _too_long() -> Unread:
    return Unread(f"decoding the video takes longer than {CPU_SECONDS} s", "cut it to the part that you mean")


def main(file: str, which: str) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 1))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    try:
        png = _png(_chosen(Path(file), which))
    except Unread as error:
        _refuse(error)
    except MemoryError:
        _refuse(Unread("the video needs too much memory", "make it smaller"))
    sys.stdout.buffer.write(png)


def _refuse(error: Unread) -> NoReturn:
    sys.stderr.write(json.dumps({"problem": error.problem, "fix": error.fix}))
    raise SystemExit(REFUSED)


def _chosen(file: Path, which: str) -> VideoFrame:
    found = None
    at_seconds = None if which in ("first", "last") else float(which)
    for frame in _frames(file):
        if found is None or which == "last" or (at_seconds is not None and (frame.time or 0.0) <= at_seconds):
            found = frame
        else:
            break
        if which == "first":
            break
    if found is None:
        raise Unread("the video has no frame", "send one that plays")
    return found


def _frames(file: Path) -> Iterator[VideoFrame]:
    import av  # a decoder is loaded in this process alone

    try:
        with av.open(str(file)) as container:
            if not container.streams.video:
                raise Unread("there are no pictures in this file", "send a video: MP4, MOV or WebM")
            stream = container.streams.video[0]
            stream.thread_count = 1
            if stream.width * stream.height > MAX_PIXELS:
                raise Unread(
                    f"the video is {stream.width}x{stream.height}", "send one of at most 4096x2304 pixels"
                )
            for number, frame in enumerate(container.decode(stream)):
                if number >= MAX_FRAMES:
                    raise Unread(
                        f"the video has more than {MAX_FRAMES} frames", "cut it to the part that you mean"
                    )
                if frame.width * frame.height > MAX_PIXELS:
                    raise Unread(f"a frame is {frame.width}x{frame.height}", "send at most 4096x2304 pixels")
                yield frame
    except (av.FFmpegError, ValueError, UnicodeError) as error:
        raise Unread(
            f"this file cannot be read as a video: {error}"[:300], "send an MP4 that plays"
        ) from None


def _png(frame: VideoFrame) -> bytes:
    from PIL import Image

    image = Image.fromarray(frame.to_ndarray(format="rgb24"))
    if frame.rotation:
        image = image.rotate(frame.rotation, expand=True)
    file = BytesIO()
    image.save(file, "PNG", compress_level=1)
    return file.getvalue()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
