"""Engines that load a model whose files are still on their way, in whatever order these come."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from bootstrap.choose.manifest import File
from bootstrap.choose.plan import Plan
from bootstrap.errors import KitError
from bootstrap.launch import arrivals
from services.engines import svd
from services.engines import wan as wan_engine
from services.engines.base import Engine, Start
from services.engines.start.spans import Spans, file_name
from services.parameters.values import Values
from tests.checkpoints import svd as svd_files
from tests.checkpoints import wan as wan_files
from tests.services.engines import test_svd, test_wan

Load = Callable[[Plan, Start], Engine]
WEIGHTS = ".safetensors"


class Arriving:
    """A model whose files lie in their place as rubbish of the right size, until each is said to be there."""

    def __init__(self, whole: Path, home: Path, plan: Plan, load: Load, values: dict[str, Any]) -> None:
        self.whole, self.home, self.values = whole, home, values
        self.paths = sorted(str(path.relative_to(whole)) for path in whole.rglob("*") if path.is_file())
        self.plan = plan.model_copy(update={"arrivals": home.parent / "arrivals.json"})
        self._load = load
        self.spans = Spans()
        for path in self.paths:
            place = home / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(bytes((whole / path).stat().st_size))
        files = [File(path=path, bytes=(whole / path).stat().st_size) for path in self.paths]
        assert self.plan.arrivals is not None
        self.record = arrivals.Record(self.plan.arrivals, files, home)
        self.engine: Engine | None = None
        self.error: BaseException | None = None
        self.said: list[tuple[str, int, int]] = []
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            start = Start(lambda *now: self.said.append(now), spans=self.spans)
            self.engine = self._load(self.plan, start)
        except BaseException as error:
            self.error = error

    def arrive(self, path: str) -> None:
        shutil.copy(self.whole / path, self.home / path)
        self.record.add(self.home / path)

    def loaded(self) -> set[str]:
        """The weight files that were read so far, as the timeline has them."""
        return {each["name"].removeprefix("load ") for each in self.spans.so_far() if each["ended_at"]}

    def name(self, path: str) -> str:
        return file_name(self.home / path).removeprefix("load ")


@pytest.fixture(params=["svd", "wan", "wan-5b"])
def model(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Arriving]:
    whole, home = tmp_path / "whole", tmp_path / "home"
    if request.param == "svd":
        svd_files.write(whole)
        plan = test_svd.plan_of(home)
        made = Arriving(whole, home, plan, svd.load, test_svd.VALUES)
    else:
        tiny = wan_files.make(whole, "5b" if request.param == "wan-5b" else "t2v")
        there = {role: home / path.relative_to(whole) for role, path in tiny.components.items()}
        plan = tiny.plan(components=there, config=str(home / "configs"), data_dir=tmp_path)
        values = {**test_wan.VALUES, "height": 64}
        made = Arriving(whole, home, plan, wan_engine.load, values)
    yield made
    made.thread.join(30)
    assert not made.thread.is_alive()


def clip(engine: Engine, values: dict[str, Any], photo: Path | None) -> NDArray[np.uint8]:
    return np.stack(list(engine.generate(Values.of(values), photo, lambda *_: None, lambda: False)))


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("backwards", [False, True])
def test_each_part_is_loaded_when_its_files_are_there_and_the_whole_works(
    model: Arriving, tmp_path: Path, backwards: bool
) -> None:
    for path in model.paths:
        if not path.endswith(WEIGHTS):
            model.arrive(path)
    weights = sorted((path for path in model.paths if path.endswith(WEIGHTS)), reverse=backwards)
    model.thread.start()
    for number, path in enumerate(weights[:-1]):
        before = model.loaded()
        model.arrive(path)
        time.sleep(0.3)
        late = {model.name(each) for each in weights[number + 1 :]}
        assert not late & model.loaded(), "nothing is read before it is verified"
        assert before <= model.loaded()
    so_far: object = model.engine
    assert so_far is None
    if "lora" not in weights[-1]:  # an expert waits for its LoRA
        until(lambda: bool(model.loaded()))
    model.arrive(weights[-1])
    model.thread.join(60)
    assert model.error is None
    assert model.engine is not None
    done, total = model.said[-1][1:]
    assert done == total
    assert any(each["waited_for"] in weights for each in model.spans.so_far()), "the wait is in the timeline"

    whole = model.plan.model_copy(update={"arrivals": None})
    photo = None
    if model.plan.family.name == "svd":
        photo = tmp_path / "photo.png"
        Image.linear_gradient("L").convert("RGB").resize((64, 64)).save(photo)
    expected = clip(model._load(whole, Start(test_wan.quiet)), model.values, photo)
    assert np.array_equal(clip(model.engine, model.values, photo), expected)


def test_a_download_that_fails_ends_the_loading_with_its_own_words(model: Arriving) -> None:
    for path in model.paths[:-1]:
        model.arrive(path)
    model.thread.start()
    with pytest.raises(KitError), model.record:
        raise KitError("the disk is full: 0.01 GiB are free", fix="rent a larger disk")
    model.thread.join(60)
    assert isinstance(model.error, KitError)
    assert (model.error.problem, model.error.fix) == (
        "the disk is full: 0.01 GiB are free",
        "rent a larger disk",
    )
