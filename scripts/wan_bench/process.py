# ruff: noqa: E501 - tables of settings read best on one line
"""A start as the kit's worker makes it: the GPU child from its start to files, with and without kept kernels."""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bootstrap.choose.plan import Plan
from bootstrap.launch import processes
from services.worker.gpu_process import ChildProcess
from services.worker.protocol import Done, Loading, Outcome, Ready, Run, Span

from . import device, files
from .clip import image, request
from .record import put

TOO_LARGE = {"width": 1280, "height": 720, "num_frames": 1601}  # for any card: 1.4 million tokens


def process(options: argparse.Namespace) -> None:
    """Ready, first and second clip after the process's start; the first start compiles, the second finds it kept."""
    model = files.make(Path(options.folder), options.model, options.layers)
    plan = model.plan(model.settings(options.profile), profile=options.profile)
    shutil.rmtree(plan.data_dir / "cache", ignore_errors=True)
    plan.data_dir.mkdir(parents=True, exist_ok=True)
    warm(model)
    plan.write(plan.data_dir / "plan.json")
    for kept in (False, True):
        order = {"values": request(model, options), "image": image(model, options)}
        found = asyncio.run(start(plan, order, too_large=kept and device.IS_CUDA))
        put(f"process, kernels {'kept' if kept else 'never compiled'}", found)


def warm(model: files.Model) -> None:
    """Read the files once: what is measured is from the page cache."""
    for path in model.components.values():
        with path.open("rb", buffering=0) as file:
            while file.read(64 * 1024**2):
                pass


async def start(plan: Plan, order: dict[str, Any], *, too_large: bool) -> dict[str, Any]:
    """Seconds since the process was started; ``too_large``: then a job that no card has the memory for."""
    folder = plan.data_dir
    env = {**os.environ, **processes.worker_environment(plan, (), os.environ)}
    env.pop("CUDA_VISIBLE_DEVICES", None)
    begin, started = time.perf_counter(), time.time()
    child = await ChildProcess.start(folder / "plan.json", env=env, log=folder / "child.log")
    found: dict[str, Any] = {}
    try:
        while isinstance(event := await child.receive(), Loading):
            """Until it is ready, or has failed."""
        found["ready_s"] = round(time.perf_counter() - begin, 2)
        if not isinstance(event, Ready):
            return found | {"failed": event.model_dump()}
        found["spans"] = spans(event.timings.spans, started)
        for name in ("first", "second"):
            outcome = await made(child, order, folder / f"{name}.mp4")
            found[f"{name}_clip_at_s"] = round(time.perf_counter() - begin, 2)
            found[f"{name}_clip"] = timings(outcome)
        if too_large:
            large = order | {"values": order["values"] | TOO_LARGE}
            found["too_large"] = (await made(child, large, folder / "large.mp4")).model_dump().get("message")
            found["after_too_large"] = timings(await made(child, order, folder / "after.mp4"))
    finally:
        await child.close()
    return found


def spans(found: Sequence[Span], started: float) -> dict[str, tuple[float, float]]:
    """From and to, seconds since the start, of what the child did."""
    return {
        each.name: (round(each.started_at - started, 2), round((each.ended_at or 0) - started, 2))
        for each in found
    }


def timings(outcome: Outcome) -> dict[str, Any]:
    return outcome.clip.timings if isinstance(outcome, Done) else outcome.model_dump()


async def made(child: ChildProcess, order: dict[str, Any], path: Path) -> Outcome:
    """What becomes of a clip of these values, and this photo if there is one."""
    await child.send(Run(values=order["values"], image=order["image"], path=path))
    while not isinstance(event := await child.receive(), Outcome):
        """Progress is not measured here."""
    return event
