"""The SVD engine on a tiny checkpoint in the true layout."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from diffusers import StableVideoDiffusionPipeline
from numpy.typing import NDArray
from PIL import Image

from bootstrap.choose.manifest import Limits
from bootstrap.choose.plan import Plan
from bootstrap.errors import KitError
from services.engines import svd
from services.engines.base import Cancel, Start
from services.engines.svd.engine import SvdEngine
from services.parameters.values import Values
from tests.checkpoints import svd as checkpoint

SIZE = (64, 64)
VALUES: dict[str, Any] = {
    "width": SIZE[0],
    "height": SIZE[1],
    "num_frames": 4,
    "fps": 7,
    "seed": 5,
    "num_inference_steps": 2,
    "motion_bucket_id": 127,
    "noise_aug_strength": 0.02,
    "min_guidance_scale": 1.0,
    "max_guidance_scale": 3.0,
    "decode_chunk_size": None,
    "fit": "crop",
}


def quiet(stage: str, done: int, total: int) -> None:
    return


def never() -> bool:
    return False


def plan_of(folder: Path, settings: dict[str, Any] | None = None) -> Plan:
    return Plan(
        kit_version="0",
        model="tiny",
        title="tiny",
        family="svd",  # type: ignore[arg-type]  # its name is enough
        inputs=("image",),
        device="cpu",
        profile="cpu",
        settings=settings or {},
        components={"pipeline": folder},
        config=None,
        defaults={},
        recipe={},
        limits=Limits(),
        threads=2,
        data_dir=folder,
    )


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint.write(tmp_path_factory.mktemp("svd"))


@pytest.fixture(scope="session")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photo") / "photo.png"
    ramp = np.linspace(0, 255, SIZE[0] * SIZE[1] * 3).reshape(SIZE[1], SIZE[0], 3)
    Image.fromarray(ramp.astype(np.uint8)).save(path)
    return path


@pytest.fixture(scope="session")
def engine(folder: Path) -> SvdEngine:
    return load(folder)


@pytest.fixture(scope="session")
def stock(folder: Path) -> StableVideoDiffusionPipeline:
    """What diffusers makes of the same files."""
    pipeline = StableVideoDiffusionPipeline.from_pretrained(
        folder, variant="fp16", local_files_only=True, dtype=torch.float32
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def load(folder: Path, **settings: Any) -> SvdEngine:
    engine = svd.load(plan_of(folder, settings), Start(quiet))
    assert isinstance(engine, SvdEngine)
    return engine


def clip(engine: SvdEngine, photo: Path, **changed: Any) -> NDArray[np.uint8]:
    return np.stack(list(engine.generate(Values.of({**VALUES, **changed}), photo, quiet, never)))


@pytest.mark.parametrize(("scale", "frames"), [(3.0, 4), (1.0, 2)])
def test_a_clip_is_the_one_that_diffusers_makes(
    engine: SvdEngine, stock: StableVideoDiffusionPipeline, photo: Path, scale: float, frames: int
) -> None:
    """Same files, photo, numbers and noise: the same frames but for the last bit of rounding."""
    changed = {"max_guidance_scale": scale, "num_frames": frames, "motion_bucket_id": 90, "fps": 9}
    values = {key: value for key, value in {**VALUES, **changed}.items() if key not in ("seed", "fit")}
    theirs = stock(
        Image.open(photo), output_type="np", generator=torch.Generator().manual_seed(VALUES["seed"]), **values
    ).frames[0]
    ours = clip(engine, photo, **changed)
    assert ours.shape == theirs.shape == (frames, SIZE[1], SIZE[0], 3)
    assert np.abs(ours - theirs * 255).max() < 1.01
    assert ours.std() > 5  # not by both being flat


def test_the_same_seed_gives_the_same_clip_and_another_seed_another(engine: SvdEngine, photo: Path) -> None:
    first = clip(engine, photo)
    assert np.array_equal(first, clip(engine, photo))
    assert not np.array_equal(first, clip(engine, photo, seed=6))


def test_a_size_that_does_not_halve_evenly_is_done_as_diffusers_does_it(
    engine: SvdEngine, stock: StableVideoDiffusionPipeline, tmp_path: Path
) -> None:
    """As 672x384: 21 latent columns become 11, and 21 again."""
    Image.linear_gradient("L").resize((88, 48)).convert("RGB").save(tmp_path / "photo.png")
    changed = {"width": 88, "height": 48, "num_frames": 2, "num_inference_steps": 2}
    values = {key: value for key, value in {**VALUES, **changed}.items() if key not in ("seed", "fit")}
    theirs = stock(
        Image.open(tmp_path / "photo.png"),
        output_type="np",
        generator=torch.Generator().manual_seed(VALUES["seed"]),
        **values,
    ).frames[0]
    assert np.abs(clip(engine, tmp_path / "photo.png", **changed) - theirs * 255).max() < 1.01


def test_no_profile_changes_the_clip(engine: SvdEngine, folder: Path, photo: Path) -> None:
    """Branches one after the other and few frames at a time cost time, not quality."""
    frugal = load(folder, guidance="apart", feed_rows=50, decode_chunk_size=1)
    difference = clip(frugal, photo).astype(int) - clip(engine, photo)
    assert np.abs(difference).max() <= 1


@pytest.mark.parametrize("chunk", [1, 4])
def test_chunks_of_the_decoder_leave_no_trace(
    engine: SvdEngine, stock: StableVideoDiffusionPipeline, chunk: int
) -> None:
    """Frame-to-frame differences at chunk borders are those of the unchunked decode; diffusers' are not."""
    latents = torch.randn((7, 4, 8, 8), generator=torch.Generator().manual_seed(3))

    def steps(frames: NDArray[Any]) -> NDArray[Any]:
        found: NDArray[Any] = np.abs(np.diff(frames.astype(np.float64), axis=0)).mean((1, 2, 3))
        return found

    def theirs(size: int) -> NDArray[Any]:
        with torch.inference_mode():
            pixels = stock.decode_latents(latents[None], 7, size)[0]
        found: NDArray[Any] = ((pixels.permute(1, 2, 3, 0).numpy() + 1) * 127.5).clip(0, 255)
        return found

    whole = theirs(7)
    ours = np.stack(list(engine.decode(latents, chunk, quiet, never)))
    assert np.abs(ours - whole).max() < 1.01
    borders = np.arange(chunk, 7, chunk) - 1
    flicker = np.abs(steps(ours) - steps(whole))[borders].max()
    assert flicker < 0.2
    assert np.abs(steps(theirs(chunk)) - steps(whole))[borders].max() > 5 * flicker


def test_cancel_ends_the_clip_between_two_steps(engine: SvdEngine, photo: Path) -> None:
    steps: list[int] = []

    def report(stage: str, done: int, total: int) -> None:
        if stage == "sample":
            steps.append(done)

    with pytest.raises(Cancel):
        list(engine.generate(Values.of(VALUES), photo, report, lambda: len(steps) == 1))
    assert steps == [1]


def test_cancel_ends_the_clip_between_two_chunks(engine: SvdEngine, photo: Path) -> None:
    stages: list[str] = []

    def report(stage: str, done: int, total: int) -> None:
        stages.append(stage)

    with pytest.raises(Cancel):
        list(
            engine.generate(
                Values.of({**VALUES, "decode_chunk_size": 1}), photo, report, lambda: "decode" in stages
            )
        )
    assert stages.count("decode") == 1


def test_frames_come_before_the_last_one_is_done(engine: SvdEngine, photo: Path) -> None:
    """So that encoding overlaps the end of decoding."""
    done: list[int] = []

    def report(stage: str, now: int, total: int) -> None:
        if stage == "decode":
            done.append(now)

    frames = engine.generate(Values.of({**VALUES, "decode_chunk_size": 2}), photo, report, never)
    next(frames)
    assert done[-1] < VALUES["num_frames"]
    assert len(list(frames)) == VALUES["num_frames"] - 1
    assert done[-1] == VALUES["num_frames"]


def test_progress_counts_bytes_steps_and_frames(folder: Path, photo: Path) -> None:
    seen: list[tuple[str, int, int]] = []

    def report(stage: str, done: int, total: int) -> None:
        seen.append((stage, done, total))

    engine = svd.load(plan_of(folder), Start(report))
    size = sum(file.stat().st_size for file in folder.rglob("*.safetensors"))
    assert seen[-1] == ("load", size, size)
    list(engine.generate(Values.of(VALUES), photo, report, never))
    assert [done for stage, done, _ in seen if stage == "sample"] == [1, 2]
    assert seen[-1] == ("decode", 4, 4)


def test_a_clip_without_a_photo_is_a_clear_error(engine: SvdEngine) -> None:
    with pytest.raises(KitError, match="none was given"):
        list(engine.generate(Values.of(VALUES), None, quiet, never))


def test_a_photo_that_was_not_fitted_is_a_clear_error(engine: SvdEngine, tmp_path: Path) -> None:
    Image.new("RGB", (100, 50)).save(tmp_path / "small.png")
    with pytest.raises(KitError, match="the photo is 100x50, the clip 64x64"):
        list(engine.generate(Values.of(VALUES), tmp_path / "small.png", quiet, never))


def test_a_size_that_the_model_cannot_do_is_refused_with_the_nearest(engine: SvdEngine, photo: Path) -> None:
    with pytest.raises(KitError, match="66x64 is not a multiple of 8") as caught:
        list(engine.generate(Values.of({**VALUES, "width": 66}), photo, quiet, never))
    assert "64x64" in caught.value.fix


def damaged(folder: Path, target: Path, part: str, change: Callable[[dict[str, torch.Tensor]], None]) -> Path:
    shutil.copytree(folder, target)
    (file,) = (target / part).glob("*.safetensors")
    tensors = safetensors.torch.load_file(file)
    change(tensors)
    safetensors.torch.save_file(tensors, file)
    return target


def test_keys_that_do_not_fit_are_named(folder: Path, tmp_path: Path) -> None:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        del tensors["conv_in.bias"]
        tensors["lora.up"] = torch.zeros(3)
        tensors["conv_out.bias"] = torch.zeros(9)

    with pytest.raises(KitError) as caught:
        load(damaged(folder, tmp_path / "bad", "unet", change))
    for fact in (
        "1 missing: conv_in.bias",
        "1 unknown: lora.up",
        "conv_out.bias is [9], not [4]",
        "of unet does not fit",
    ):
        assert fact in caught.value.problem


def test_a_counter_that_older_exports_store_is_no_mistake(folder: Path, tmp_path: Path) -> None:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        tensors["vision_model.embeddings.position_ids"] = torch.arange(17)[None]

    load(damaged(folder, tmp_path / "old", "image_encoder", change))


def test_files_without_a_variant_are_read_too(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "plain")
    for file in (tmp_path / "plain").rglob("*.fp16.safetensors"):
        file.rename(file.with_name(file.name.replace(".fp16", "")))
    load(tmp_path / "plain")


@pytest.mark.parametrize(
    ("file", "damage", "problem"),
    [
        ("vae/diffusion_pytorch_model.fp16.safetensors", None, "holds neither"),
        ("vae/diffusion_pytorch_model.fp16.safetensors", b"x" * 100, "not a whole safetensors"),
        ("unet/config.json", b"{", "config.json cannot be read"),
        ("scheduler/scheduler_config.json", None, "scheduler_config.json cannot be read"),
    ],
)
def test_a_folder_that_is_no_checkpoint_is_a_clear_error(
    folder: Path, tmp_path: Path, file: str, damage: bytes | None, problem: str
) -> None:
    shutil.copytree(folder, tmp_path / "bad")
    (tmp_path / "bad" / file).unlink() if damage is None else (tmp_path / "bad" / file).write_bytes(damage)
    with pytest.raises(KitError, match=problem):
        load(tmp_path / "bad")


@pytest.mark.parametrize("setting", [{"offload": "maybe"}, {"decode_chunk_size": 0}, {"tiling": True}])
def test_a_profile_with_a_wrong_setting_is_a_clear_error(folder: Path, setting: dict[str, Any]) -> None:
    with pytest.raises(KitError, match=f"settings of the svd family: {next(iter(setting))}"):
        load(folder, **setting)


def test_offload_without_a_gpu_is_a_clear_error(folder: Path) -> None:
    with pytest.raises(KitError, match="without a GPU"):
        load(folder, offload="model")


@pytest.mark.slow
def test_twenty_clips_leave_memory_where_the_second_left_it(engine: SvdEngine, tmp_path: Path) -> None:
    def alive() -> int:
        gc.collect()
        return sum(1 for thing in gc.get_objects() if type(thing) in (torch.Tensor, torch.nn.Parameter))

    Image.new("RGB", (32, 32)).save(tmp_path / "photo.png")
    short = {"width": 32, "height": 32, "num_frames": 2, "num_inference_steps": 1}
    held = []
    for seed in range(20):
        clip(engine, tmp_path / "photo.png", seed=seed, **short)
        held.append(alive())
    assert held[-1] == held[1]


def test_the_engine_works_after_a_cancelled_clip(engine: SvdEngine, photo: Path) -> None:
    before = clip(engine, photo)
    with pytest.raises(Cancel):
        list(engine.generate(Values.of(VALUES), photo, quiet, lambda: True))
    assert np.array_equal(before, clip(engine, photo))
