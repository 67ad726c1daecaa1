"""The SVD engine on a GPU: every way of placing weights makes the clip that the CPU makes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from services.engines import svd
from services.engines.base import Cancel, OutOfMemory, Start
from services.engines.svd.engine import SvdEngine
from services.parameters.values import Values
from tests.checkpoints import svd as checkpoint
from tests.services.engines.test_svd import SIZE, VALUES, never, plan_of, quiet

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU"),
]
PLACES: list[dict[str, Any]] = [
    {},
    {"guidance": "apart"},
    {"decode_chunk_size": 2},
    {"offload": "model", "guidance": "apart", "decode_chunk_size": 1},
    {"offload": "stream", "guidance": "apart", "decode_chunk_size": 1},
    {"offload": "stream"},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint.write(tmp_path_factory.mktemp("svd"))


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photo") / "photo.png"
    ramp = np.linspace(0, 255, SIZE[0] * SIZE[1] * 3).reshape(SIZE[1], SIZE[0], 3)
    Image.fromarray(ramp.astype(np.uint8)).save(path)
    return path


def load(folder: Path, device: str, settings: dict[str, Any]) -> SvdEngine:
    engine = svd.load(plan_of(folder, settings).model_copy(update={"device": device}), Start(quiet))
    assert isinstance(engine, SvdEngine)
    return engine


@pytest.mark.parametrize("settings", PLACES, ids=str)
def test_the_clip_is_the_one_of_the_cpu(folder: Path, photo: Path, settings: dict[str, Any]) -> None:
    wanted = np.stack(list(load(folder, "cpu", {}).generate(Values.of(VALUES), photo, quiet, never))).astype(
        float
    )
    engine = load(folder, "cuda", settings)
    for _ in range(2):
        found = np.stack(list(engine.generate(Values.of(VALUES), photo, quiet, never)))
        assert np.abs(found - wanted).mean() < 0.5
    with pytest.raises(Cancel):
        list(engine.generate(Values.of(VALUES), photo, quiet, lambda: torch.cuda.memory_allocated() > 0))
    again = np.stack(list(engine.generate(Values.of(VALUES), photo, quiet, never)))
    assert np.array_equal(found, again)


def test_what_is_offloaded_leaves_the_gpu(folder: Path, photo: Path) -> None:
    engine = load(folder, "cuda", {"offload": "model"})
    before = torch.cuda.memory_allocated()
    list(engine.generate(Values.of(VALUES), photo, quiet, never))
    assert torch.cuda.memory_allocated() == before


def test_too_little_memory_is_told_with_numbers_and_the_next_clip_is_made(folder: Path, photo: Path) -> None:
    engine = load(folder, "cuda", {})
    wanted = np.stack(list(engine.generate(Values.of(VALUES), photo, quiet, never)))
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 2**21) / total)
    try:
        with pytest.raises(OutOfMemory) as caught:
            list(engine.generate(Values.of(VALUES), photo, quiet, never))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert caught.value.peak_bytes > 0
    assert caught.value.total_bytes == total
    found = np.stack(list(engine.generate(Values.of(VALUES), photo, quiet, never)))
    # cuDNN keeps the plans that it fell back to when memory was short: they round differently.
    assert np.abs(found.astype(float) - wanted).mean() < 0.5
