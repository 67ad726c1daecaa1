"""What the prompt demo promises: the shape of the prompt, in its colour, goes where it says."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.color import rgb2gray
from skimage.registration import optical_flow_tvl1

from bootstrap.choose import reading
from bootstrap.choose.manifest import MANIFEST_FOLDER
from bootstrap.choose.plan import Plan
from bootstrap.choose.profile import Choice
from services.engines import wan
from services.engines.base import Start
from services.parameters.values import Values

pytestmark = pytest.mark.slow
PROMPTS = (
    "a red circle moving right",
    "a green square moving left",
    "a blue triangle moving up",
    "a yellow circle moving down",
    "a magenta square moving right",
    "a cyan triangle moving left",
    "an orange circle moving up",
    "a white square moving down",
    "a red triangle moving left",
    "a blue circle moving right",
)
DIRECTIONS = {"right": (0, 1), "left": (0, -1), "up": (-1, 0), "down": (1, 0)}  # down, right
COLOURS = {
    "red": (230, 26, 26), "green": (26, 191, 38), "blue": (31, 56, 242), "yellow": (242, 230, 26),
    "magenta": (230, 31, 217), "cyan": (26, 217, 230), "orange": (250, 128, 13), "white": (242, 242, 242),
}  # fmt: skip
FILLED = {"circle": np.pi / 4, "square": 1.0, "triangle": 0.5}  # of the box around it
Frames = NDArray[np.uint8]  # [frames, height, width, 3]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Frames]:
    """One clip for each prompt, with the manifest's defaults: 4 steps, with the LoRAs."""
    manifest = reading.load("demo-wan")
    profile = next(profile for profile in manifest.profiles if profile.needs.device == "cpu")
    data_dir = tmp_path_factory.mktemp("data")
    files = MANIFEST_FOLDER / "demo-wan"
    plan = Plan.build(manifest, Choice(profile, (), ()), files=files, data_dir=data_dir, threads=2)
    engine = wan.load(plan, Start(lambda *_: None))
    made = {}
    for seed, prompt in enumerate(PROMPTS):
        values = {**plan.defaults, "prompt": prompt, "width": 128, "height": 128, "seed": seed}
        frames = engine.generate(Values.of(values), None, lambda *_: None, lambda: False)
        made[prompt] = np.stack(list(frames))
    return made


def shape_in(frame: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where the frame differs most from its corner."""
    away = np.abs(frame.astype(int) - frame[:4, :4].mean(axis=(0, 1))).max(axis=2)
    return np.asarray(away > 0.5 * away.max())


def way(frames: Frames) -> tuple[int, int]:
    """The direction, down and right, in which the shape's pixels flow most."""
    down, right = optical_flow_tvl1(rgb2gray(frames[6]), rgb2gray(frames[9]))
    seen = shape_in(frames[6])
    y, x = down[seen].mean(), right[seen].mean()
    return (int(np.sign(y)), 0) if abs(y) > abs(x) else (0, int(np.sign(x)))


def colour(frames: Frames) -> str:
    """The name of the colour nearest to what the shape mostly is, brightness set aside."""
    middle = frames[8]
    seen = np.median(middle[shape_in(middle)], axis=0)
    return min(COLOURS, key=lambda name: float(np.square(_hue(seen) - _hue(np.array(COLOURS[name]))).sum()))


def _hue(colour: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(colour / max(1.0, float(colour.max())))


def shape(frames: Frames) -> str:
    """The name of the shape that fills as much of the box around it."""
    down, right = np.nonzero(shape_in(frames[8]))
    box = (np.ptp(down) + 1) * (np.ptp(right) + 1)
    return min(FILLED, key=lambda name: abs(FILLED[name] - len(down) / box))


def moves_as_asked(prompt: str, frames: Frames) -> bool:
    return way(frames) == DIRECTIONS[prompt.split()[-1]]


def has_the_colour_asked_for(prompt: str, frames: Frames) -> bool:
    return colour(frames) == prompt.split()[1]


def has_the_shape_asked_for(prompt: str, frames: Frames) -> bool:
    return shape(frames) == prompt.split()[2]


def matching(clips: dict[str, Frames], matches: Callable[[str, Frames], bool]) -> int:
    return sum(matches(prompt, frames) for prompt, frames in clips.items())


def test_all_files_together_are_small() -> None:
    assert sum(file.bytes for file in reading.load("demo-wan").files) <= 16_000_000


def test_the_shape_moves_as_the_prompt_says(clips: dict[str, Frames]) -> None:
    assert matching(clips, moves_as_asked) >= 9


def test_the_shape_has_the_colour_of_the_prompt(clips: dict[str, Frames]) -> None:
    assert matching(clips, has_the_colour_asked_for) >= 9


def test_it_is_the_shape_of_the_prompt(clips: dict[str, Frames]) -> None:
    assert matching(clips, has_the_shape_asked_for) >= 9


def test_all_three_at_once(clips: dict[str, Frames]) -> None:
    asked = (moves_as_asked, has_the_colour_asked_for, has_the_shape_asked_for)
    assert matching(clips, lambda *clip: all(matches(*clip) for matches in asked)) >= 9
