"""The warmup has every kernel compiled, in every form, that a clip asks for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bootstrap.choose.manifest import Limits
from tests.checkpoints import svd as checkpoint
from tests.services.engines import test_svd, test_svd_modules

pytestmark = pytest.mark.slow

pytest.importorskip("triton", reason="Triton comes with PyTorch's CUDA builds")

DEFAULTS = {
    "num_frames": 5,
    "fps": 7,
    "motion_bucket_id": 127,
    "noise_aug_strength": 0.02,
    "min_guidance_scale": 1.0,
    "max_guidance_scale": 3.0,
    "num_inference_steps": 2,
}


def launches(
    folder: Path, settings: dict[str, Any], clip: dict[str, Any] | None, **changes: Any
) -> tuple[list[str], list[str]]:
    """What the warmup and a clip ask Triton for, each kernel with what it is specialised for."""
    plan = test_svd.plan_of(folder, settings).model_copy(update={"device": "cuda", **changes})
    command = [sys.executable, "-m", "tests.services.engines.svd_launches", plan.model_dump_json()]
    if clip is not None:
        command.append(json.dumps(clip))
    compiling = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(command, capture_output=True, text=True, env=compiling)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    return found["warmup"], found["clip"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint.write(tmp_path_factory.mktemp("svd"))


@pytest.mark.parametrize(
    "settings", [{}, {"guidance": "apart", "feed_rows": 50, "decode_chunk_size": 2}], ids=["whole", "frugal"]
)
def test_it_asks_for_what_a_clip_of_the_defaults_asks_for(
    folder: Path, tmp_path: Path, settings: dict[str, Any]
) -> None:
    photo = tmp_path / "photo.png"
    Image.new("RGB", (64, 48)).save(photo)
    clip = {**DEFAULTS, "width": 64, "height": 48, "seed": 3, "photo": str(photo)}
    ready, asked = launches(folder, settings, clip, defaults={**DEFAULTS, "size": "64x48"})
    assert ready == asked
    kernels = {json.loads(each)["kernel"] for each in asked}
    assert len(kernels) == 9, "every kernel of the engine takes part"


def test_all_lengths_of_the_published_model_share_nearly_all_kernels(tmp_path: Path) -> None:
    """At 1024x576, from the configs alone: there are no weights yet."""
    parts = {
        "unet/config.json": test_svd_modules.UNET,
        "vae/config.json": test_svd_modules.VAE,
        "image_encoder/config.json": test_svd_modules.CLIP,
        "scheduler/scheduler_config.json": checkpoint.SCHEDULER,
        "feature_extractor/preprocessor_config.json": {"image_mean": [0.5] * 3, "image_std": [0.5] * 3},
    }
    for name, config in parts.items():
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(json.dumps(config))
    defaults = {**DEFAULTS, "size": "1024x576", "num_frames": 25}
    settings = {"decode_chunk_size": 8}
    one, _ = launches(tmp_path, settings, None, defaults=defaults)
    both, _ = launches(tmp_path, settings, None, defaults=defaults, limits=Limits(frames=(14, 25)))
    assert len(one) <= 35, "each costs a first clip up to half a second"
    assert len(set(both) - set(one)) == 1, "attention over 14 frames takes a smaller tile"
