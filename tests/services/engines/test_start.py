"""A start imports what its engine needs, and has the kernels ready before the first clip."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from services.engines.base import Start
from services.engines.wan import component_configs, warmup
from services.engines.wan.expert import Expert
from services.engines.wan.vae import Codec
from services.parameters.values import Values
from tests.checkpoints import svd, wan
from tests.services.engines import test_svd, test_wan


def run(code: str) -> list[str]:
    """The words that a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.split()


REFERENCES = {"diffusers", "transformers", "accelerate"}  # for tests only


@pytest.mark.parametrize("family", ["svd", "wan"])
def test_an_engine_starts_and_loads_without_the_reference_libraries(family: str, tmp_path: Path) -> None:
    """They are seconds of each start. What only a prompt needs comes with the first prompt."""
    plan = test_svd.plan_of(svd.write(tmp_path)) if family == "svd" else wan.make(tmp_path).plan()
    loaded = run(
        "import sys; from bootstrap.choose.plan import Plan; from services.engines.base import Start;"
        f"from services.engines import {family} as engine;"
        f"plan = Plan.model_validate_json({plan.model_dump_json()!r});"
        "start = Start(lambda *_: None);"
        "engine.prepare(plan, start); prepared = set(sys.modules);"
        "engine.load(plan, start); print(*prepared, '|', *sys.modules)"
    )
    assert f"services.engines.{family}.engine" in loaded[: loaded.index("|")], "imported beside the download"
    assert "torch" in loaded
    assert not (REFERENCES | {"ftfy"}) & set(loaded)


def test_the_warmup_asks_for_the_kernels_that_a_clip_does(tmp_path: Path) -> None:
    """Same names, shapes and dtypes as a loaded expert's block, at the size of a default clip."""
    tiny = wan.make(tmp_path)
    plan = tiny.plan(settings={"matmul": "fp8"})
    configs = component_configs.configs(plan.config)
    device = torch.device("cpu")
    made = warmup.block(configs["transformer"], device).state_dict()
    real = Expert(
        "high_noise",
        tiny.components["high_noise"],
        configs["transformer"],
        compute=torch.float32,
        matmul="fp8",
        lora=None,
    )
    wanted = {slot.name: (slot.dtype, tuple(slot.shape)) for slot in real.blocks[0].slots}
    assert {name: (made[name].dtype, tuple(made[name].shape)) for name in wanted} == wanted
    velocity = warmup.forward(configs, {"size": "64x48", "num_frames": 9}, device)
    assert velocity.shape == (1, 16, 3, 6, 8)
    assert velocity.isfinite().all()


def test_what_is_done_beside_the_loading_may_fail(caplog: pytest.LogCaptureFixture) -> None:
    """It is told in the log and in the timeline, what comes after it is done, and nobody else is stopped."""
    done = []
    start = Start(test_wan.quiet)
    start.background.do("prepare what is broken", lambda: 1 // 0)
    start.background.do("prepare the rest", lambda: done.append(torch.is_inference_mode_enabled()))
    start.background.finish()
    assert done == [True]
    assert "could not prepare what is broken ahead of the first clip" in caplog.text
    times = {each["name"]: each for each in start.spans.so_far()}
    assert times["prepare what is broken"]["ended_at"] <= times["prepare the rest"]["ended_at"]


def test_parts_that_were_warmed_up_make_the_same_clip(tmp_path: Path) -> None:
    tiny = wan.make(tmp_path)
    ready, fresh = (test_wan.engine(tiny) for _ in range(2))
    ready.codec = Codec(ready.codec.vae, tiling=False, frames_at_once=2)  # as on a GPU
    ready.text.warm_up()
    ready.warm_up_decoding({"size": "64x48"})
    made = [
        np.stack(list(each.generate(Values.of(test_wan.VALUES), None, test_wan.quiet, test_wan.never)))
        for each in (ready, fresh)
    ]
    assert np.abs(made[0].astype(int) - made[1]).max() <= 1
