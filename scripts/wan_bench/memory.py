"""Peaks of the allocator under caps of the cards' sizes, profile by profile."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from services.parameters.values import Values

from . import device, files
from .clip import loaded
from .record import guard, never, put, quiet

WIDE, LONG, HIGH, VERY_LONG = (832, 480, 81), (832, 480, 161), (1280, 720, 81), (832, 480, 481)
# A card, the profile of the manifest, and what it must be able to make.
CAPS: tuple[tuple[int, str, tuple[tuple[int, int, int], ...]], ...] = (
    (80, "full", (WIDE, LONG, HIGH)),
    (80, "full-exact", (WIDE, LONG, HIGH)),
    (48, "resident", (WIDE, LONG, HIGH)),
    (48, "resident-exact", (WIDE, LONG, HIGH)),
    (48, "swap-long", (WIDE, HIGH, VERY_LONG)),
    (32, "stream", (WIDE, LONG, HIGH)),
    (24, "stream", (WIDE, LONG, HIGH)),
    (24, "stream-exact", (WIDE, HIGH)),
    (16, "stream-lean", (WIDE, LONG, HIGH)),
    (16, "stream-lean-exact", (WIDE,)),
    (12, "stream-small", (WIDE, LONG)),
)
REPEATS_AT = 16  # the card on which twenty clips are made in a row


def memory(options: argparse.Namespace) -> None:
    """Peaks under allocator caps; two steps, one of each expert."""
    model = files.make(Path(options.folder), "wan22", options.layers)
    for gib, profile, clips in CAPS:
        if options.caps and gib not in options.caps:
            continue

        def one(gib: int = gib, profile: str = profile, clips: Any = clips) -> None:
            device.cap(gib)
            engine = loaded(model, model.settings(profile), f"{gib} {profile}")
            sizes = [(options.width, options.height, options.frames)] if options.frames else clips
            for width, height, frames in sizes:
                values = model.request(width=width, height=height, num_frames=frames, num_inference_steps=2)
                put(f"{gib} {profile} {width}x{height}x{frames}", under_cap(engine, values))
            if gib == REPEATS_AT and profile == "stream-lean":
                put("after clip 2 and 20", repeated(engine, model))

        guard(f"{gib} {profile}", one)
    device.cap(None)


def under_cap(engine: Any, values: dict[str, Any]) -> dict[str, Any] | str:
    """Peaks of the two stages, seconds of a step and of decoding; or the error."""
    import torch

    from services.engines.base import OutOfMemory
    from services.engines.memory import OomAsError

    device.empty()
    device.reset_peak()
    try:
        begin = time.perf_counter()
        with OomAsError(torch.device(device.NAME)):
            latents = engine.sample(Values.of(values), None, quiet, never)
            device.synchronize()
        sampled, peak = time.perf_counter(), device.peak_gib()
        device.reset_peak()
        with OomAsError(torch.device(device.NAME)):
            count = sum(1 for _ in engine._decode(latents, values["num_frames"], quiet, never))
    except (OutOfMemory, torch.OutOfMemoryError) as error:
        return f"{type(error).__name__}: {str(error)[:160]}"
    return {
        "sample_peak_GiB": peak, "decode_peak_GiB": device.peak_gib(), "frames": count,
        "step_s": round((sampled - begin) / 2, 2), "decode_s": round(time.perf_counter() - sampled, 2),
        "host_GiB": device.host_gib(),
    }  # fmt: skip


def repeated(engine: Any, model: files.Model) -> list[dict[str, Any]]:
    """Memory after the second and after the twentieth clip, each of another prompt."""
    kept = []
    for number in range(20):
        values = model.request(width=480, height=320, num_frames=9, seed=number, prompt=f"clip {number}")
        for _ in engine.generate(Values.of(values), None, quiet, never):
            pass
        kept.append({"allocated_bytes": device.allocated_bytes(), "host_GiB": device.host_gib()})
    return [kept[1], kept[-1]]
