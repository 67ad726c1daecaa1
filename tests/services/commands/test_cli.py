"""``kinokit generate`` and ``batch`` before a model is needed; with one they are in tests/journeys."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from services.commands import batch, clip_maker
from services.parameters import NAMES
from services.video import encode
from services.video.metadata import Metadata
from tests.support import photos


def kinokit(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "COLUMNS": "200", "PYTHONPATH": str(Path(__file__).parents[3])}
    command = [sys.executable, "-m", "services.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=env, cwd=cwd, timeout=60)


def finished_clip(path: Path, *, model: str = "demo", **values: object) -> Path:
    frames = [np.full((64, 128, 3), 40 * n, np.uint8) for n in range(3)]
    recorded = {"seed": 1, "width": 128, "height": 64, "num_frames": 14, "fps": 7, **values}
    encode.write(frames, path, fps=7, metadata=Metadata(model, "0.1.0", recorded))
    return path


def test_every_parameter_is_a_flag_of_the_same_name() -> None:
    shown = kinokit("generate", "--help").stdout
    flags = set(re.findall(r"--[a-z][a-z-]+", shown))
    assert {f"--{name.replace('_', '-')}" for name in NAMES} <= flags
    assert "1 to 255" in shown
    assert "One of crop, pad, stretch" in shown


def test_a_clip_that_is_there_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "out.mp4").write_text("precious")
    (tmp_path / "photo.png").write_bytes(photos.landscape())
    done = kinokit("generate", "photo.png", "-o", "out.mp4", cwd=tmp_path)
    assert done.returncode == 1
    assert "out.mp4 is there already" in done.stderr
    assert "--force" in done.stderr
    assert (tmp_path / "out.mp4").read_text() == "precious"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("missing.png",), "there is no file missing.png"),
        (("notes.txt",), "notes.txt: this is a text, not an image that can be read"),
        (("drawing.tif",), "drawing.tif: this is a TIFF, not an image that can be read"),
        (("photos",), "photos is a folder"),
        (("photo.png", "-o", "clip.txt"), "clip.txt does not end in .mp4"),
        (("photo.png", "--motion-bucket-id", "999"), "motion_bucket_id"),
        (("photo.png", "--size", "large"), "size"),
        (("photo.png", "-o", "nowhere/out.mp4"), "there is no folder nowhere"),
    ],
)
def test_what_is_wrong_is_told_before_a_model_is_loaded(
    tmp_path: Path, arguments: tuple[str, ...], told: str
) -> None:
    (tmp_path / "photo.png").write_bytes(photos.landscape())
    (tmp_path / "notes.txt").write_text("no picture")
    Image.new("RGB", (64, 64)).save(tmp_path / "drawing.tif")
    (tmp_path / "photos").mkdir()
    began = time.monotonic()
    done = kinokit("generate", *arguments, cwd=tmp_path)
    assert done.returncode == 1
    assert told in done.stderr
    assert "fix: " in done.stderr
    assert "Traceback" not in done.stderr
    assert "detect" not in done.stderr, f"looked at the machine, {time.monotonic() - began:.1f} s"


def test_a_folder_of_iphone_photos_is_taken_and_a_broken_one_is_told(tmp_path: Path) -> None:
    pillow_heif.from_pillow(Image.new("RGB", (64, 48), "red")).save(tmp_path / "a.heic")
    (tmp_path / "b.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(64))
    assert batch.photos(tmp_path) == [tmp_path / "a.heic", tmp_path / "b.heic"]
    taken = clip_maker.photo(tmp_path / "a.heic")
    assert (taken.width, taken.height) == (64, 48)
    with pytest.raises(clip_maker.Failed, match="a broken iPhone photo"):
        clip_maker.photo(tmp_path / "b.heic")


def test_a_finished_clip_is_known_by_what_it_records(tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    picture.write_bytes(photos.landscape())
    clip = finished_clip(tmp_path / "a.mp4", motion_bucket_id=90)
    assert batch.is_finished(picture, clip, "demo", {})
    assert batch.is_finished(
        picture, clip, "demo", {"motion_bucket_id": 90, "size": "128x64", "seconds": 2.0}
    )
    assert not batch.is_finished(picture, clip, "demo", {"motion_bucket_id": 91})
    assert not batch.is_finished(picture, clip, "demo", {"size": "64x128"})
    assert not batch.is_finished(picture, clip, "svd", {})


def test_half_a_clip_an_older_clip_and_a_foreign_clip_are_made_again(tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    picture.write_bytes(photos.landscape())
    clip = finished_clip(tmp_path / "a.mp4")
    half = tmp_path / "half.mp4"
    half.write_bytes(clip.read_bytes()[:300])
    os.utime(half)
    assert not batch.is_finished(picture, half, "demo", {})
    assert not batch.is_finished(picture, tmp_path / "missing.mp4", "demo", {})
    os.utime(clip, (1, 1))
    assert not batch.is_finished(picture, clip, "demo", {})


def test_two_photos_that_differ_in_their_suffix_alone_have_two_clips(tmp_path: Path) -> None:
    found = [tmp_path / name for name in ("a.jpg", "a.png", "b.png")]
    clips = [clip.name for _, clip in batch.targets(found, tmp_path)]
    assert clips == ["a.jpg.mp4", "a.png.mp4", "b.mp4"]


def test_a_folder_without_photos_is_told(tmp_path: Path) -> None:
    done = kinokit("batch", str(tmp_path))
    assert done.returncode == 1
    assert "holds no photos" in done.stderr
