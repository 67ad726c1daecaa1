"""Measure SVD-XT on this machine: our engine and diffusers' pipeline, with random weights in the true layout.

    python scripts/bench_svd.py              both, 25 frames of 1024x576, 25 steps, to MP4; ratio and floor
    python scripts/bench_svd.py --profiles   peak memory and time of each profile under an allocator cap
    python scripts/bench_svd.py --error      relative error of both against float32
    python scripts/bench_svd.py --parts      where a step's time goes, kernel by kernel
    python scripts/bench_svd.py --repeat 20  memory after each of many clips
    python scripts/bench_svd.py --tiny       everything at toy size, to try the script without a GPU

Time and memory do not depend on the values of the weights.
"""

from __future__ import annotations

import argparse
import gc
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil

os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")  # as the kit's workers have it
import torch
from diffusers import (
    AutoencoderKLTemporalDecoder,
    EulerDiscreteScheduler,
    StableVideoDiffusionPipeline,
    UNetSpatioTemporalConditionModel,
)
from PIL import Image
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

from bootstrap.choose.manifest import Limits
from bootstrap.choose.plan import Plan
from services.engines import svd
from services.engines.base import OutOfMemory, Start
from services.engines.svd.engine import SvdEngine
from services.parameters.values import Values
from services.video import encode
from services.video.metadata import Metadata

GIB = 1024**3
# Counted on fake tensors for 25 frames of 1024x576: convolutions, linears and attention.
STEP_TFLOP, DECODE_TFLOP, RATE_TFLOP_PER_SECOND = 160, 169, 700
CONTEXT_GIB = 0.7  # what CUDA itself takes of a card, beside the allocator: measured 0.5 to 0.6
VALUES: dict[str, Any] = {
    "width": 1024,
    "height": 576,
    "num_frames": 25,
    "fps": 7,
    "seed": 7,
    "num_inference_steps": 25,
    "motion_bucket_id": 127,
    "noise_aug_strength": 0.02,
    "min_guidance_scale": 1.0,
    "max_guidance_scale": 3.0,
    "decode_chunk_size": None,
}
# Card in GiB and settings: the profiles of the manifests.
PROFILES: list[tuple[str, float, dict[str, Any]]] = [
    ("resident", 24, {"decode_chunk_size": 8}),
    ("resident", 16, {"decode_chunk_size": 4}),
    ("frugal", 12, {"feed_rows": 65536, "decode_chunk_size": 2}),
    ("offload", 12, {"offload": "model", "feed_rows": 65536, "decode_chunk_size": 4}),
    ("apart", 8, {"offload": "model", "guidance": "apart", "feed_rows": 65536, "decode_chunk_size": 2}),
    ("stream", 8, {"offload": "stream", "guidance": "apart", "feed_rows": 65536, "decode_chunk_size": 2}),
    ("stream", 6, {"offload": "stream", "guidance": "apart", "feed_rows": 65536, "decode_chunk_size": 1}),
]
SIZES = ((1024, 576), (672, 384))


@dataclass
class Watch:
    """Seconds of each stage, from the engine's own reports."""

    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    last: float = field(default_factory=time.perf_counter)

    def report(self, stage: str, done: int, total: int) -> None:
        if torch.cuda.is_available() and stage != "sample":
            torch.cuda.synchronize()
        now = time.perf_counter()
        self.seconds[stage] += now - self.last
        self.last = now


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for flag in ("profiles", "error", "parts", "tiny", "ours-only"):
        parser.add_argument(f"--{flag}", action="store_true")
    parser.add_argument(
        "--card", type=float, help="with --profiles: only those for cards of so many GiB or less"
    )
    parser.add_argument("--repeat", type=int, default=0)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument(
        "--checkpoint", type=Path, help="a real or made SVD folder; random weights when absent"
    )
    asked = parser.parse_args()
    VALUES["num_inference_steps"] = asked.steps
    if asked.tiny:
        VALUES.update(width=128, height=64, num_frames=5)
    with tempfile.TemporaryDirectory(prefix="bench-svd-") as room:
        folder = asked.checkpoint or make_checkpoint(Path(room) / "checkpoint", tiny=asked.tiny)
        photo = make_photo(Path(room) / "photo.png")
        print(f"card: {torch.cuda.get_device_name() if torch.cuda.is_available() else 'none'}", flush=True)
        if asked.profiles:
            measure_profiles(folder, photo, asked.card or float("inf"))
        elif asked.error:
            measure_error(folder, photo, tiny=asked.tiny)
        elif asked.parts:
            measure_parts(folder, photo)
        elif asked.repeat:
            measure_repeat(folder, photo, asked.repeat)
        else:
            measure_speed(folder, photo, Path(room), ours_only=asked.ours_only)


# --- what is measured --------------------------------------------------------------------------------------


def measure_speed(folder: Path, photo: Path, room: Path, *, ours_only: bool) -> None:
    engine, loading = loaded(folder, {}, prepared=True)
    # What the warmup beside the loading does not spare the first one, the others do not have.
    ours = [clip(engine, photo, room / "ours.mp4") for _ in range(3)]
    for number, (total, watch) in enumerate(ours, 1):
        parts = ", ".join(f"{stage} {seconds:.2f}" for stage, seconds in watch.seconds.items())
        print(f"ours, clip {number}: {total:.2f} s ({parts}); loading and warmup {loading:.1f} s", flush=True)
    peak("ours")
    del engine
    empty()
    best = min(total for total, _ in ours[1:])
    steps = VALUES["num_inference_steps"]
    floor = (steps * STEP_TFLOP + DECODE_TFLOP) / RATE_TFLOP_PER_SECOND
    if not ours_only:
        stock = stock_clip(folder, photo, room / "stock.mp4")
        peak("diffusers")
        print(f"ours {best:.2f} s, diffusers {stock:.2f} s: {stock / best:.2f} times as fast")
    if torch.cuda.is_available():
        print(f"this card's large products, for three seconds on end: {sustained_rate():.0f} TFLOP/s")
    print(
        f"floor at {RATE_TFLOP_PER_SECOND} TFLOP/s: {floor:.2f} s; ours is {best / floor:.2f} times the floor"
    )


def measure_profiles(folder: Path, photo: Path, largest: float) -> None:
    VALUES["num_inference_steps"] = 4
    print("profile        card  peak  held  beside  host GiB  step s  decode s  25 steps s", flush=True)
    for name, card, settings in PROFILES:
        if card > largest:
            continue
        for size in SIZES:
            VALUES.update(width=size[0], height=size[1])
            picture = make_photo(photo.with_name(f"{size[0]}.png"))
            line = measure_profile(folder, picture, card, settings)
            empty()
            print(
                f"{name:13} {card:5}  {line or 'does not fit':50}  {size[0]}x{size[1]} {settings}", flush=True
            )
            if line:
                break


def measure_profile(folder: Path, photo: Path, card: float, settings: dict[str, Any]) -> str | None:
    """A line of numbers, or None when the profile does not fit the card."""
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((card - CONTEXT_GIB) * GIB / total)
    torch.cuda.reset_peak_memory_stats()
    try:
        engine, _ = loaded(folder, settings)
        host = psutil.Process().memory_info().rss / GIB
        for _ in range(2):
            watch = Watch()
            list(engine.generate(Values.of(VALUES), photo, watch.report, lambda: False))
        seconds = watch.seconds
    except (OutOfMemory, torch.OutOfMemoryError):
        return None
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    free, whole = torch.cuda.mem_get_info()
    peak, held = torch.cuda.max_memory_allocated() / GIB, torch.cuda.max_memory_reserved() / GIB
    beside = (whole - free - torch.cuda.memory_reserved()) / GIB
    step = seconds["sample"] / VALUES["num_inference_steps"]
    clip_seconds = seconds["encode"] + 25 * step + seconds["decode"]
    memory = f"{peak:5.2f} {held:5.2f}  {beside:6.2f}  {host:8.2f}"
    return f"{memory}  {step:6.3f}  {seconds['decode']:8.2f}  {clip_seconds:10.2f}"


def measure_error(folder: Path, photo: Path, *, tiny: bool) -> None:
    """Relative L2 of the final latents, same noise, same photo latent noise."""
    if not tiny:
        VALUES.update(width=576, height=320, num_frames=14)
    picture = Image.open(photo).resize((VALUES["width"], VALUES["height"]))
    shape = (1, VALUES["num_frames"], 4, VALUES["height"] // 8, VALUES["width"] // 8)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    reference = stock_latents(folder, picture, noise, torch.float32)
    torch.backends.cudnn.allow_tf32 = True
    stock = stock_latents(folder, picture, noise, torch.float16) if torch.cuda.is_available() else reference
    engine, _ = loaded(folder, {})
    ours = our_latents(engine, picture, noise)
    size = reference.norm()
    errors = [float((latents - reference).norm() / size) for latents in (ours, stock)]
    print(
        f"size {float(size):.1f}; relative error: ours {errors[0]:.2e}, diffusers in fp16 {errors[1]:.2e}",
        flush=True,
    )
    if errors[1]:
        print(f"ratio {errors[0] / errors[1]:.2f}", flush=True)


KINDS = {  # of kernels, by a part of their names
    "attention": ("sdpa", "fmha", "_attend_over_time"),
    "convolution": ("fprop", "dgrad", "conv", "winograd"),
    "product": ("nvjet", "gemm", "cutlass"),
    "norms and sums": ("_stats", "_affine", "_scale_silu", "_add", "_join", "_blend", "_gate"),
}


def measure_parts(folder: Path, photo: Path) -> None:
    """Milliseconds on the GPU of one step, and of everything else."""
    engine, _ = loaded(folder, {})
    VALUES["num_inference_steps"] = 1
    list(engine.generate(Values.of(VALUES), photo, lambda *_: None, lambda: False))
    once, twice = kernel_times(engine, photo, 1), kernel_times(engine, photo, 3)
    step = {name: (twice[name] - once.get(name, 0.0)) / 2 for name in twice}
    rest = {name: once.get(name, 0.0) - step.get(name, 0.0) for name in once}
    for title, times in (("one step", step), ("encode and decode", rest)):
        print(f"{title}: {sum(times.values()):.1f} ms")
        kinds: dict[str, float] = defaultdict(float)
        for name, spent in times.items():
            kinds[
                next((kind for kind, parts in KINDS.items() if any(p in name for p in parts)), "other")
            ] += spent
        print("  " + ", ".join(f"{kind} {spent:.1f}" for kind, spent in sorted(kinds.items())))
        for name, spent in sorted(times.items(), key=lambda item: -item[1])[:22]:
            print(f"  {spent:8.2f}  {name[:120]}")


def kernel_times(engine: SvdEngine, photo: Path, steps: int) -> dict[str, float]:
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        list(
            engine.generate(
                Values.of({**VALUES, "num_inference_steps": steps}), photo, lambda *_: None, lambda: False
            )
        )
        torch.cuda.synchronize()
    return {event.key: event.self_device_time_total / 1e3 for event in profile.key_averages()}


def measure_repeat(folder: Path, photo: Path, count: int) -> None:
    VALUES["num_inference_steps"] = 1
    engine, _ = loaded(folder, {})
    held = []
    for number in range(count):
        list(engine.generate(Values.of({**VALUES, "seed": number}), photo, lambda *_: None, lambda: False))
        held.append((torch.cuda.memory_allocated(), torch.cuda.memory_reserved()))
    print("clip: allocated, reserved GiB", [(round(a / GIB, 3), round(r / GIB, 3)) for a, r in held])
    print("same from the second clip on:", len(set(held[1:])) == 1)


def sustained_rate() -> float:
    """TFLOP/s of large half-precision products while the card is as warm as in a clip."""
    size = 8192
    left, right = (torch.randn(size, size, device="cuda", dtype=torch.float16) for _ in range(2))
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < 3:
        for _ in range(50):
            left @ right
        torch.cuda.synchronize()
        count += 50
    return 2 * size**3 * count / (time.perf_counter() - start) / 1e12


# --- ours --------------------------------------------------------------------------------------------------


def loaded(folder: Path, settings: dict[str, Any], *, prepared: bool = False) -> tuple[SvdEngine, float]:
    """The engine and the seconds that it took; ``prepared`` as a GPU child does, with the warmup."""
    plan = Plan(
        kit_version="bench",
        model="svd-xt",
        title="SVD-XT",
        family="svd",  # type: ignore[arg-type]  # its name is enough
        inputs=("image",),
        device="cuda" if torch.cuda.is_available() else "cpu",
        profile="bench",
        settings=settings,
        components={"pipeline": folder},
        config=None,
        defaults={**VALUES, "size": f"{VALUES['width']}x{VALUES['height']}"},
        recipe={},
        limits=Limits(),
        threads=4,
        data_dir=folder,
    )
    began = time.perf_counter()
    start = Start(lambda *_: None)
    if prepared:
        svd.prepare(plan, start)
    engine = svd.load(plan, start)
    assert isinstance(engine, SvdEngine)
    return engine, time.perf_counter() - began


def clip(engine: SvdEngine, photo: Path, path: Path) -> tuple[float, Watch]:
    start = time.perf_counter()
    watch = Watch()
    frames = engine.generate(Values.of(VALUES), photo, watch.report, lambda: False)
    encode.write(frames, path, fps=VALUES["fps"], metadata=Metadata("svd-xt", "bench", VALUES))
    watch.report("mp4", 1, 1)
    return time.perf_counter() - start, watch


@torch.inference_mode()
def our_latents(engine: SvdEngine, picture: Image.Image, noise: torch.Tensor) -> torch.Tensor:
    from services.engines.svd import sampling

    pixels = torch.from_numpy(np.array(picture, dtype=np.float32)).permute(2, 0, 1)[None] / 127.5 - 1
    photo_noise = torch.randn(pixels.shape, generator=torch.Generator().manual_seed(2))
    condition = engine.condition(Values.of(VALUES), pixels, photo_noise, lambda *_: None)
    guidance = torch.linspace(
        VALUES["min_guidance_scale"], VALUES["max_guidance_scale"], VALUES["num_frames"]
    )
    latents = sampling.sample(
        engine.unet, engine.schedule, condition, noise[0].to(engine.device), guidance,
        steps=VALUES["num_inference_steps"], together=True, feed_rows=None,
        report=lambda *_: None, cancelled=lambda: False,
    )  # fmt: skip
    return latents.cpu()


# --- diffusers ---------------------------------------------------------------------------------------------


def stock_pipeline(folder: Path, dtype: torch.dtype) -> StableVideoDiffusionPipeline:
    pipeline = StableVideoDiffusionPipeline.from_pretrained(
        folder, dtype=dtype, variant="fp16", local_files_only=True
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to("cuda" if torch.cuda.is_available() else "cpu")


def stock_arguments() -> dict[str, Any]:
    names = (
        "width", "height", "num_frames", "fps", "motion_bucket_id", "noise_aug_strength",
        "num_inference_steps", "min_guidance_scale", "max_guidance_scale",
    )  # fmt: skip
    return {name: VALUES[name] for name in names}


def stock_clip(folder: Path, photo: Path, path: Path) -> float:
    torch.backends.cudnn.benchmark = False  # as PyTorch comes
    torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = True
    pipeline = stock_pipeline(folder, torch.float16)
    picture = Image.open(photo)
    pipeline(picture, decode_chunk_size=8, **{**stock_arguments(), "num_inference_steps": 2})
    empty()
    start = time.perf_counter()
    arrays = pipeline(picture, decode_chunk_size=8, output_type="np", **stock_arguments()).frames[0]

    def frames() -> Iterator[Any]:
        for array in arrays:
            yield (array * 255).round().astype(np.uint8)

    encode.write(frames(), path, fps=VALUES["fps"], metadata=Metadata("svd-xt", "bench", VALUES))
    return time.perf_counter() - start


def stock_latents(
    folder: Path, picture: Image.Image, noise: torch.Tensor, dtype: torch.dtype
) -> torch.Tensor:
    pipeline = stock_pipeline(folder, dtype)
    latents = pipeline(
        picture, latents=noise.to(dtype), generator=torch.Generator().manual_seed(2), output_type="latent",
        **stock_arguments(),
    ).frames  # fmt: skip
    del pipeline
    empty()
    first: torch.Tensor = latents[0].float().cpu()
    return first


# --- what it is measured on --------------------------------------------------------------------------------


def make_photo(path: Path) -> Path:
    width, height = VALUES["width"], VALUES["height"]
    down, across = np.mgrid[0:height, 0:width]
    waves = [128 + 120 * np.sin(across / (17 + 9 * n) + down / (23 - 5 * n)) for n in range(3)]
    Image.fromarray(np.stack(waves, -1).astype(np.uint8)).save(path)
    return path


def make_checkpoint(folder: Path, *, tiny: bool) -> Path:
    """Random weights in SVD-XT's layout; biases and shares are random too, so that every path counts."""
    torch.manual_seed(0)
    blocks = (32, 32, 64, 64) if tiny else (320, 640, 1280, 1280)
    sizes = {"cross_attention_dim": 32, "num_attention_heads": (2, 2, 4, 4)} if tiny else {}
    vision = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    vision |= {"patch_size": 56, "projection_dim": 32}
    full = {
        "hidden_size": 1280,
        "intermediate_size": 5120,
        "num_hidden_layers": 32,
        "num_attention_heads": 16,
    }
    full |= {"patch_size": 14, "projection_dim": 1024}
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        pipeline = StableVideoDiffusionPipeline(
            unet=UNetSpatioTemporalConditionModel(sample_size=96, block_out_channels=blocks, **sizes),
            vae=AutoencoderKLTemporalDecoder(
                block_out_channels=(32, 32, 64, 64) if tiny else (128, 256, 512, 512),
                down_block_types=("DownEncoderBlock2D",) * 4,
                layers_per_block=2,
                sample_size=768,
            ),
            image_encoder=CLIPVisionModelWithProjection(
                CLIPVisionConfig(image_size=224, hidden_act="gelu", **(vision if tiny else full))
            ),
            scheduler=EulerDiscreteScheduler(
                beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear",
                prediction_type="v_prediction", sigma_min=0.002, sigma_max=700.0, steps_offset=1,
                timestep_spacing="leading",
                timestep_type="continuous", use_karras_sigmas=True,
            ),
            feature_extractor=CLIPImageProcessor(),
        )  # fmt: skip
        with torch.no_grad():
            for part in (pipeline.unet, pipeline.vae):
                for name, parameter in part.named_parameters():
                    if name.endswith("mix_factor"):
                        parameter.normal_()
                    elif parameter.ndim == 1:
                        parameter.add_(torch.randn_like(parameter), alpha=0.1)
    pipeline.to(dtype=torch.float16).save_pretrained(folder, variant="fp16")
    del pipeline
    empty()
    return folder


def empty() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def peak(name: str) -> None:
    if torch.cuda.is_available():
        print(
            f"{name}: peak {torch.cuda.max_memory_allocated() / GIB:.1f} GiB allocated, "
            f"{torch.cuda.max_memory_reserved() / GIB:.1f} GiB reserved",
            flush=True,
        )
        torch.cuda.reset_peak_memory_stats()


if __name__ == "__main__":
    main()
