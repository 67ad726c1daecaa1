"""What the demo model promises, measured on five photos that it was not trained on."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage
from numpy.typing import NDArray
from PIL import Image, ImageOps
from scipy.stats import spearmanr
from skimage.color import rgb2gray
from skimage.registration import optical_flow_tvl1

from bootstrap.choose import reading
from bootstrap.choose.manifest import MANIFEST_FOLDER
from bootstrap.choose.plan import Plan
from bootstrap.choose.profile import Choice
from services.engines import svd
from services.engines.base import Start
from services.parameters.values import Values

pytestmark = pytest.mark.slow
HELD_OUT = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "camera.png")
SIZE = (224, 128)
Frames = NDArray[np.uint8]  # [frames, height, width, 3]
Clip = Callable[..., Frames]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("photos")
    made = {}
    for name in HELD_OUT:
        made[name] = folder / f"{name}.png"
        with Image.open(Path(skimage.__file__).parent / "data" / name) as photo:
            ImageOps.fit(photo.convert("RGB"), SIZE, Image.Resampling.BICUBIC).save(made[name])
    return made


@pytest.fixture(scope="module")
def clip(photos: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """Makes a clip with the manifest's own defaults; the same request is made once."""
    manifest = reading.load("demo")
    profile = next(profile for profile in manifest.profiles if profile.needs.device == "cpu")
    folder = MANIFEST_FOLDER / "demo"
    data_dir = tmp_path_factory.mktemp("data")
    plan = Plan.build(manifest, Choice(profile, (), ()), files=folder, data_dir=data_dir, threads=2)
    engine = svd.load(plan, Start(lambda *_: None))
    known: dict[tuple[Any, ...], Frames] = {}

    def make(photo: str, *, again: bool = False, **changes: Any) -> Frames:
        key = (photo, *sorted(changes.items()))
        if key not in known or again:
            values = {**plan.defaults, "width": SIZE[0], "height": SIZE[1], "seed": 1, **changes}
            frames = engine.generate(Values.of(values), photos[photo], lambda *_: None, lambda: False)
            known[key] = np.stack(list(frames))
        return known[key]

    return make


def flow(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Pixels down and right [2, height, width], without the edge, where nothing can be matched."""
    found = optical_flow_tvl1(rgb2gray(first), rgb2gray(second))
    return np.asarray(found[:, 12:-12, 12:-12])


def test_all_files_together_are_small() -> None:
    assert sum(file.bytes for file in reading.load("demo").files) <= 16_000_000


def test_the_five_photos_were_not_trained_on() -> None:
    path = MANIFEST_FOLDER.parent / "scripts" / "demo_training" / "pictures.py"
    spec = importlib.util.spec_from_file_location("pictures", path)
    assert spec and spec.loader
    pictures = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pictures)
    assert not set(HELD_OUT) & {*pictures.SKIMAGE, *pictures.SKLEARN}


@pytest.mark.parametrize("name", HELD_OUT)
def test_the_first_frame_resembles_the_photo(name: str, clip: Clip, photos: dict[str, Path]) -> None:
    with Image.open(photos[name]) as photo:
        wanted = np.asarray(photo, dtype=np.float64)
    error = np.square(clip(name)[0] - wanted).mean()
    assert 10 * np.log10(255**2 / error) >= 22


@pytest.mark.parametrize("name", HELD_OUT)
def test_frames_change_evenly(name: str, clip: Clip) -> None:
    frames = clip(name).astype(np.float64)
    changes = np.abs(np.diff(frames, axis=0)).mean(axis=(1, 2, 3))
    assert len(frames) == 14
    assert changes.min() > 0.5
    assert changes.max() < 2 * changes.min()


def test_the_picture_moves_as_one(clip: Clip) -> None:
    frames = clip("chelsea.png", motion_bucket_id=190)
    found = flow(frames[0], frames[6])
    height, width = found.shape[1:]
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    course = np.stack([np.ones_like(x), x, y], axis=-1).reshape(-1, 3)
    wanted = found.reshape(2, -1).T
    fitted = course @ np.linalg.lstsq(course, wanted, rcond=None)[0]
    # A pan, a zoom and a tilt explain most of what moves.
    assert np.square(wanted - fitted).sum() < 0.5 * np.square(wanted).sum()


def test_a_higher_motion_bucket_moves_more(clip: Clip) -> None:
    buckets = (20, 75, 127, 190, 255)
    moved = []
    for bucket in buckets:
        changes = {} if bucket == 127 else {"motion_bucket_id": bucket}
        frames = clip("chelsea.png", **changes)
        moved.append(np.hypot(*flow(frames[0], frames[6])).mean())
    assert spearmanr(buckets, moved).statistic >= 0.9
    assert moved[-1] > 3 * moved[0]


def test_the_same_seed_gives_the_same_clip(clip: Clip) -> None:
    first = clip("coffee.png")
    assert np.array_equal(first, clip("coffee.png", again=True))


def test_another_seed_goes_another_way(clip: Clip) -> None:
    ways = []
    for seed in (1, 2):
        frames = clip("coffee.png", **({} if seed == 1 else {"seed": seed}))
        ways.append(flow(frames[0], frames[9]).mean(axis=(1, 2)))
    angle = np.degrees(np.arccos(np.dot(*ways) / np.prod(np.linalg.norm(ways, axis=1))))
    assert angle > 45


def test_a_clip_takes_at_most_15_seconds_on_two_cores(clip: Clip) -> None:
    # Processor time, because a busy machine says nothing about the model.
    started = time.process_time()
    clip("rocket.jpg", again=True)
    assert time.process_time() - started < 2 * 15
