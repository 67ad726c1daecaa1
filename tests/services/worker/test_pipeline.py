"""The road of a clip: each stage by its name in progress, estimate and timings."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from services.engines.base import Cancel, Cancelled, Frame, FrameStage, Report, Shape
from services.parameters.values import Values
from services.video.metadata import Metadata
from services.worker.estimate import Estimate
from services.worker.pipeline import Made, Pipeline
from services.worker.sinks import File

VALUES = Values(width=64, height=48, num_frames=6, seed=1, fps=8)


class Bars:
    """An engine: frames that grow brighter. It is closed when nobody wants more."""

    def __init__(self) -> None:
        self.photo_size: tuple[int, int] | None = None
        self.handed_over = 0
        self.is_closed = False

    def generate(
        self, values: Values, image: Path | None, report: Report, cancelled: Cancelled
    ) -> Iterator[Frame]:
        try:
            if image is not None:
                with Image.open(image) as photo:
                    self.photo_size = photo.size
            report("encode", 1, 1)
            time.sleep(0.02)
            report("sample", 1, 1)
            for number in range(values.num_frames):
                report("decode", number + 1, values.num_frames)
                self.handed_over += 1
                yield np.full((values.height, values.width, 3), number * 20, np.uint8)
        finally:
            self.is_closed = True


class Twice:
    """Each frame two times, at twice the speed: what an interpolation does, without torch."""

    name = "twice"

    def __init__(self, seconds: float = 0.0, fails_at: int | None = None) -> None:
        self._seconds = seconds
        self._fails_at = fails_at

    def shape(self, given: Shape) -> Shape:
        return Shape(frames=given.frames * 2, fps=given.fps * 2)

    def run(self, frames: Iterator[Frame], given: Shape) -> Iterator[Frame]:
        for number, frame in enumerate(frames):
            if number == self._fails_at:
                raise ZeroDivisionError("a bug of the stage")
            time.sleep(self._seconds)
            yield frame
            yield frame.copy()


class Kept:
    """A sink that keeps the frames' brightness."""

    name = "kept"

    def __init__(self) -> None:
        self.levels: list[int] = []

    def shape(self, given: Shape) -> Shape:
        return given

    def run(self, frames: Iterator[Frame], given: Shape) -> Iterator[Frame]:
        for frame in frames:
            self.levels.append(int(frame[0, 0, 0]))
            yield frame


class Watched:
    """What somebody who watches sees of one run."""

    def __init__(self, folder: Path) -> None:
        self._photo = folder / "fitted.png"
        self.shown: list[str | None] = []
        self.progress: list[float] = []

    def __call__(self, estimate: Estimate) -> None:
        self.shown.append(estimate.stage)
        self.progress.append(estimate.progress)

    def run(self, pipeline: Pipeline, *sinks: FrameStage, image: Path | None = None) -> Made:
        return pipeline.run(
            VALUES, image, sinks=sinks, photo=self._photo, watch=self, cancelled=lambda: False
        )


def test_a_stage_is_seen_by_its_name_in_progress_estimate_and_timings(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    pipeline = Pipeline(Bars(), stages=[Twice(seconds=0.02)])
    for _ in range(2):
        watched = Watched(tmp_path)
        made = watched.run(pipeline, File(clip, Metadata("m", "1")))
    assert made.frames == 12
    assert set(made.seconds) == {"encode", "sample", "decode", "twice", "file"}
    assert made.seconds["twice"] >= 6 * 0.02
    assert "twice" in watched.shown  # the second clip knows that it takes longest
    assert watched.progress == sorted(watched.progress)
    with av.open(str(clip)) as container:
        video = container.streams.video[0]
        assert sum(1 for _ in container.decode(video)) == 12
        assert video.average_rate == 16


def test_the_second_clip_expects_of_each_stage_what_the_first_one_took(tmp_path: Path) -> None:
    pipeline = Pipeline(Bars(), stages=[Twice(seconds=0.05)])
    first, second = Watched(tmp_path), Watched(tmp_path)
    first.run(pipeline, Kept())
    second.run(pipeline, Kept())
    # When the engine has sampled and the slow stage begins, little of the clip is done.
    assert second.progress[1] < 0.4 < first.progress[1]


def test_frames_pass_all_stages_one_by_one_and_reach_every_sink(tmp_path: Path) -> None:
    first, second = Kept(), Kept()
    Watched(tmp_path).run(Pipeline(Bars(), stages=[Twice()]), first, second)
    assert first.levels == second.levels == [level for level in range(0, 120, 20) for _ in range(2)]


def test_the_photo_is_fitted_before_the_engine_sees_it(tmp_path: Path) -> None:
    photo, engine = tmp_path / "photo.jpg", Bars()
    Image.linear_gradient("L").convert("RGB").resize((320, 240)).save(photo)
    made = Watched(tmp_path).run(Pipeline(engine), Kept(), image=photo)
    assert engine.photo_size == (64, 48)
    assert made.seconds["photo"] > 0


def test_a_stage_that_fails_leaves_no_file_and_closes_the_engine_at_once(tmp_path: Path) -> None:
    clip, engine = tmp_path / "clip.mp4", Bars()
    pipeline = Pipeline(engine, stages=[Twice(fails_at=2)])
    with pytest.raises(ZeroDivisionError):
        Watched(tmp_path).run(pipeline, File(clip, Metadata("m", "1")))
    assert engine.is_closed
    assert list(tmp_path.iterdir()) == []


def test_a_cancelled_clip_ends_between_two_frames_and_leaves_no_file(tmp_path: Path) -> None:
    clip, engine = tmp_path / "clip.mp4", Bars()
    with pytest.raises(Cancel):
        Pipeline(engine, stages=[Twice()]).run(
            VALUES,
            None,
            sinks=[File(clip, Metadata("m", "1"))],
            photo=tmp_path / "fitted.png",
            watch=lambda estimate: None,
            cancelled=lambda: engine.handed_over == 3,
        )
    assert (engine.handed_over, engine.is_closed) == (3, True)
    assert list(tmp_path.iterdir()) == []


def test_the_stage_of_the_recipe_runs(tmp_path: Path) -> None:
    text = (Path(__file__).parents[3] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    recipe = text.split("## Add a stage\n")[1].split("\n## ")[0]
    code = recipe.split("```python\n")[1].split("```")[0]
    names: dict[str, Any] = {}
    exec(code, names)
    kept = Kept()
    made = Watched(tmp_path).run(Pipeline(Bars(), stages=[names["Twice"]()]), kept)
    assert (made.frames, len(kept.levels)) == (12, 12)
    assert "twice" in made.seconds
