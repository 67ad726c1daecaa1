"""MP4 files as players and users find them."""

from __future__ import annotations

import errno
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from bootstrap.errors import KitError
from services.video import encode, metadata
from services.video.metadata import Metadata

ABOUT = Metadata(
    model="svd-xt", kit_version="0.1.0", values={"seed": 7, "fit": "crop", "note": "日本 'quoted'"}
)


def moving_square(count: int, width: int = 96, height: int = 64) -> list[NDArray[np.uint8]]:
    frames = []
    for number in range(count):
        frame = np.full((height, width, 3), 40, np.uint8)
        frame[16:48, 4 + number : 36 + number] = (200, 60, 30)
        frames.append(frame)
    return frames


def probe(path: Path) -> dict[str, Any]:
    out = subprocess.run(
        ["ffprobe", "-v", "error", "-count_frames", "-show_streams", "-of", "json", str(path)],
        check=True,
        capture_output=True,
    ).stdout
    stream: dict[str, Any] = json.loads(out)["streams"][0]
    return stream


@pytest.mark.parametrize(("count", "fps"), [(1, 7), (14, 7), (25, 30), (70, 6)])
def test_every_frame_and_the_exact_rate_are_in_the_file(tmp_path: Path, count: int, fps: int) -> None:
    path = tmp_path / "clip.mp4"
    assert encode.write(moving_square(count), path, fps=fps, metadata=ABOUT) == count
    stream = probe(path)
    assert stream["nb_read_frames"] == str(count)
    assert stream["r_frame_rate"] == f"{fps}/1"
    assert float(stream["duration"]) == pytest.approx(count / fps, abs=1e-3)
    assert (stream["codec_name"], stream["pix_fmt"]) == ("h264", "yuv420p")
    assert (stream["width"], stream["height"]) == (96, 64)
    assert (stream["color_space"], stream["color_range"]) == ("bt709", "tv")


def test_the_index_stands_before_the_pictures(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    encode.write(moving_square(5), path, fps=7, metadata=ABOUT)
    data = path.read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")


def test_the_pictures_look_like_the_frames(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    frames = moving_square(8)
    encode.write(frames, path, fps=7, metadata=ABOUT)
    with av.open(str(path)) as container:
        seen = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    error = np.mean((np.stack(frames).astype(float) - np.stack(seen)) ** 2)
    assert 10 * np.log10(255**2 / error) > 35
    assert np.abs(seen[0][32, 20].astype(int) - (200, 60, 30)).max() <= 6  # no tint


def test_a_clip_says_how_it_was_made(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    encode.write(moving_square(2), path, fps=7, metadata=ABOUT)
    assert metadata.read(path) == ABOUT


def test_a_strange_video_or_no_video_is_a_clear_error(tmp_path: Path) -> None:
    strange = tmp_path / "strange.mp4"
    subprocess.run(
        ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "color=size=64x64:duration=0.2", str(strange)],
        check=True,
    )
    with pytest.raises(KitError, match="says nothing of how"):
        metadata.read(strange)
    text = tmp_path / "text.mp4"
    text.write_text("no video")
    with pytest.raises(KitError, match="not a readable video"):
        metadata.read(text)


def test_a_clip_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> object:
        yield from moving_square(3)
        raise RuntimeError("cancelled")

    with pytest.raises(RuntimeError, match="cancelled"):
        encode.write(broken(), tmp_path / "clip.mp4", fps=7, metadata=ABOUT)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_a_failed_clip_does_not_replace_an_earlier_one(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    encode.write(moving_square(2), path, fps=7, metadata=ABOUT)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="no frame"):
        encode.write([], path, fps=7, metadata=ABOUT)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["clip.mp4"]


def test_an_odd_size_is_refused_with_the_numbers(tmp_path: Path) -> None:
    with pytest.raises(KitError, match="97x64"):
        encode.write(moving_square(1, width=97), tmp_path / "clip.mp4", fps=7, metadata=ABOUT)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(KitError, match="cannot be written"):
        encode.write(moving_square(3), tmp_path / "absent" / "clip.mp4", fps=7, metadata=ABOUT)


@pytest.mark.skipif(not Path("/dev/full").exists() or os.name != "posix", reason="needs /dev/full")
def test_a_full_disk_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4.part").symlink_to("/dev/full")
    with pytest.raises(KitError, match=os.strerror(errno.ENOSPC)):
        encode.write(moving_square(40, 640, 480), tmp_path / "clip.mp4", fps=7, metadata=ABOUT)


def test_encoding_runs_while_frames_are_made(tmp_path: Path) -> None:
    """The part file grows before the last frame was given."""
    path = tmp_path / "clip.mp4"
    noise = np.random.default_rng(0)
    with encode.Writer(path, fps=7, metadata=ABOUT) as writer:
        for _ in range(3 * encode.WAITING_FRAMES):
            writer.add(noise.integers(0, 256, (240, 320, 3), dtype=np.uint8))
        size_before_the_end = path.with_name("clip.mp4.part").stat().st_size
    assert size_before_the_end > 0.2 * path.stat().st_size
