# ruff: noqa: E501 - tables of settings read best on one line
"""Whole clips, warm, of any of the models and profiles; ComfyUI's on the same files."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from services.parameters.values import Values

from . import device, files
from .record import guard, never, put, quiet


def clip(options: argparse.Namespace) -> None:
    """Load, then clips; each part of a warm clip, and what is left to do after its last frame."""
    started = time.perf_counter()
    model = files.make(Path(options.folder), options.model, options.layers)
    put("files_s", round(time.perf_counter() - started, 1))
    settings = model.settings(options.profile)
    engine = loaded(model, settings, options.profile)
    for number in range(options.times):
        measure(engine, request(model, options, seed=number), f"clip_{number}", image(model, options))
    put(
        "clip_to_file",
        to_file(engine, request(model, options), image(model, options), Path(options.folder) / "clip.mp4"),
    )
    if options.kernels:
        values = request(model, options)
        latents = engine.sample(Values.of(values), image(model, options), quiet, never)
        kernels(lambda: engine.sample(Values.of(values), image(model, options), quiet, never), "sample")
        kernels(lambda: list(engine._decode(latents, values["num_frames"], quiet, never)), "decode")


def models(options: argparse.Namespace) -> None:
    """The other models and the exact profiles at full size, one after the other; only one lies on the disk."""
    chosen: tuple[tuple[str, str, dict[str, Any]], ...] = (
        ("wan22", "full-exact", {}), ("wan22-i2v", "full", {}), ("wan22-i2v", "full-exact", {}),
        ("wan22-5b", "full", {"num_inference_steps": 4}),
    )  # fmt: skip
    before = None
    for name, profile, changes in chosen:
        if before not in (None, name):
            shutil.rmtree(Path(options.folder) / str(before))
        before = name

        def one(name: str = name, profile: str = profile, changes: dict[str, Any] = changes) -> None:
            model = files.make(Path(options.folder), name, options.layers)
            engine = loaded(model, model.settings(profile), f"{name} {profile}")
            values = request(model, options) | changes
            if not options.frames:  # the model's own size
                values |= {key: model.request()[key] for key in ("width", "height", "num_frames")}
            for number in range(2):
                measure(
                    engine,
                    values | {"seed": number},
                    f"{name} {profile} clip_{number}",
                    image(model, options, values),
                )

        guard(f"{name} {profile}", one)


def loaded(model: files.Model, settings: dict[str, Any], name: str) -> Any:
    from services.engines.base import Start
    from services.engines.wan import loading

    device.reset_peak()
    started = time.perf_counter()
    engine = loading.load(model.plan(settings), Start(quiet))
    device.synchronize()
    put(f"{name} load", {
        "s": round(time.perf_counter() - started, 2), "peak_GiB": device.peak_gib(), "host_GiB": device.host_gib(),
    })  # fmt: skip
    return engine


def request(model: files.Model, options: argparse.Namespace, **changes: Any) -> dict[str, Any]:
    """The manifest's defaults, and the command's size."""
    given = {"width": options.width, "height": options.height, "num_frames": options.frames}
    return model.request(**{key: value for key, value in given.items() if value}, **changes)


def image(
    model: files.Model, options: argparse.Namespace, values: dict[str, Any] | None = None
) -> Path | None:
    """A photo of the clip's size, where the model takes one."""
    if "image" not in model.manifest.inputs:
        return None
    import numpy as np
    from PIL import Image

    values = values or request(model, options)
    path = Path(options.folder) / f"photo-{values['width']}x{values['height']}.png"
    if not path.exists():
        noise = np.random.default_rng(0).integers(
            0, 256, (values["height"] // 8, values["width"] // 8, 3), np.uint8
        )
        Image.fromarray(noise).resize((values["width"], values["height"])).save(path)
    return path


def measure(engine: Any, values: dict[str, Any], name: str, photo: Path | None) -> None:
    device.reset_peak()
    begin = time.perf_counter()
    latents = engine.sample(Values.of(values), photo, quiet, never)
    device.synchronize()
    middle = time.perf_counter()
    frames = sum(1 for _ in engine._decode(latents, values["num_frames"], quiet, never))
    end = time.perf_counter()
    put(name, {
        "sample_s": round(middle - begin, 3), "decode_s": round(end - middle, 3), "total_s": round(end - begin, 3),
        "frames": frames, "finite": bool(latents.isfinite().all()), "peak_GiB": device.peak_gib(),
        "kept_GiB": round(device.allocated_bytes() / device.GIB, 3),
    })  # fmt: skip


def to_file(engine: Any, values: dict[str, Any], photo: Path | None, path: Path) -> dict[str, float]:
    """A warm clip to a finished MP4, seconds; random weights make noise, which is the encoder's hardest."""
    from services.video import encode, metadata

    tags = metadata.Metadata(model="bench", kit_version="0", values=values)
    begin = last = time.perf_counter()
    with encode.Writer(path, fps=values["fps"], metadata=tags) as writer:
        for frame in engine.generate(Values.of(values), photo, quiet, never):
            last = time.perf_counter()
            writer.add(frame)
    end = time.perf_counter()
    return {
        "total_s": round(end - begin, 3), "after_last_frame_s": round(end - last, 3), "MB": round(path.stat().st_size / 1e6, 1),
    }  # fmt: skip


def kernels(run: Callable[[], Any], name: str) -> None:
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as traced

    with traced(activities=[ProfilerActivity.CUDA]) as found:
        run()
        device.synchronize()
    for event in sorted(found.key_averages(), key=lambda e: -e.device_time_total)[:16]:
        print(
            f"{name} {event.device_time_total / 1e3:9.1f} ms x{event.count:5d} {event.key[:100]}", flush=True
        )


def comfy(options: argparse.Namespace) -> None:
    """ComfyUI's time on the full-size files."""
    import subprocess

    order = [
        sys.executable,
        str(Path(__file__).parents[1] / "bench_wan_comfy.py"),
        options.comfy,
        str(Path(options.folder) / "wan22"),
        *(
            str(given or usual)
            for given, usual in ((options.width, 832), (options.height, 480), (options.frames, 81))
        ),
        "5",
        "100",
    ]
    ran = subprocess.run(order, capture_output=True, text=True)
    line = next((line for line in ran.stdout.splitlines() if line.startswith("COMFY ")), ran.stderr[-1500:])
    put("comfy", line)
