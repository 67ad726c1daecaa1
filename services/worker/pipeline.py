"""The road of a clip in the GPU child: photo, engine, frame stages, sinks; frames go on as they come."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from services.engines.base import Cancel, Cancelled, ClipStage, Engine, Frame, FrameStage, Shape, Stage
from services.parameters.values import Values
from services.video import fit
from services.worker.estimate import Estimate

PHOTO = "photo"
ENGINE_STAGES: tuple[str, ...] = get_args(ClipStage)

Watch = Callable[[Estimate], None]  # called at each step of any stage


@dataclass(frozen=True)
class Made:
    frames: int
    seconds: dict[str, float]  # by stage


class Pipeline:
    """One engine and what is done with its frames. ``run`` makes one clip after the other."""

    def __init__(self, engine: Engine, *, stages: Sequence[FrameStage] = ()) -> None:
        self._engine = engine
        self._stages = stages
        self._learned: dict[str, float] = {}

    def run(
        self,
        values: Values,
        image: Path | None,
        *,
        sinks: Sequence[FrameStage],
        photo: Path,
        watch: Watch,
        cancelled: Cancelled,
    ) -> Made:
        """``image`` is a photo of any size; with the clip's size it is kept at ``photo``.

        Raises ``Cancel`` once ``cancelled()``, and whatever a stage raises; no file is left then.
        """
        road = (*self._stages, *sinks)
        names = [*([PHOTO] if image else []), *ENGINE_STAGES, *(stage.name for stage in road)]
        estimate = Estimate(self._learned, stages=names)
        if image is not None:
            image = _fitted(image, photo, values, estimate)
        frames = _from_engine(self._engine, values, image, estimate, watch, cancelled)
        shape = Shape(frames=values.num_frames, fps=values.fps)
        for stage in road:
            frames = _through(stage, frames, shape, estimate, watch, cancelled)
            shape = stage.shape(shape)
        count = sum(1 for _ in frames)
        return Made(count, estimate.finish())


def _from_engine(
    engine: Engine,
    values: Values,
    image: Path | None,
    estimate: Estimate,
    watch: Watch,
    cancelled: Cancelled,
) -> Iterator[Frame]:
    stage = ENGINE_STAGES[0]

    def report(name: Stage, done: int, total: int) -> None:
        nonlocal stage
        stage = name
        estimate.advance(stage, done, total)
        watch(estimate)

    with _closed(engine.generate(values, image, report, cancelled)) as made:
        while True:
            with estimate.inside(stage):
                frame = next(made, None)
            if frame is None:
                return
            if cancelled():
                raise Cancel
            yield frame


def _through(
    stage: FrameStage,
    frames: Iterator[Frame],
    given: Shape,
    estimate: Estimate,
    watch: Watch,
    cancelled: Cancelled,
) -> Iterator[Frame]:
    """The frames that a stage makes of ``frames``; its time is what passes within it, not before it."""
    count, total = 0, stage.shape(given).frames
    with _closed(stage.run(frames, given)) as made:
        while True:
            with estimate.inside(stage.name):
                frame = next(made, None)
                if frame is None:
                    return
                count += 1
                estimate.advance(stage.name, count, total)
            watch(estimate)
            if cancelled():
                raise Cancel
            yield frame


@contextmanager
def _closed(frames: Iterator[Frame]) -> Iterator[Iterator[Frame]]:
    """What a stage holds is freed at once when a later one fails, not when the garbage is collected."""
    try:
        yield frames
    finally:
        if isinstance(frames, Generator):
            frames.close()


def _fitted(image: Path, target: Path, values: Values, estimate: Estimate) -> Path:
    """The photo with the clip's width and height."""
    with estimate.inside(PHOTO):
        fit.photo(image, target, fit=values.fit, width=values.width, height=values.height)
        estimate.advance(PHOTO, 1, 1)
    return target
