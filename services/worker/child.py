"""One process of the GPU child: holds the model and makes clips; talks with its parent by ``protocol``."""

from __future__ import annotations

import argparse
import importlib
import logging
import signal
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import cast

from bootstrap import logs
from bootstrap.choose.plan import Plan
from services.engines.base import Cancel, Engine, EngineModule, Stage, Start
from services.engines.start.files import Arriving
from services.engines.start.spans import Spans
from services.parameters.values import Values
from services.video.metadata import Metadata
from services.worker import failure, sinks
from services.worker.channel import Channel
from services.worker.estimate import Estimate
from services.worker.pipeline import Pipeline
from services.worker.protocol import (
    STAGE_LENGTH,
    Cancelled,
    Clip,
    Done,
    Loading,
    Progress,
    Ready,
    Run,
    Timings,
)

log = logging.getLogger("kinokit.child")

WAITING = "waiting for the weights"
FAULT_EXIT = 71  # the GPU's context is broken: only a new process can use it


def begin(channel: Channel, rank: int = 0, world: int = 1) -> Start:
    """What this start is spent on is reported with its progress."""
    spans = Spans()

    def report(stage: Stage, done: int, total: int) -> None:
        progress = min(1.0, done / total) if total else None
        detail = WAITING if stage == "wait" else stage
        channel.report(stage, Loading(detail=detail, progress=progress, timings=_timings(spans)))

    return Start(report, rank=rank, world=world, spans=spans)


def prepare(plan: Plan, channel: Channel, start: Start, engine_module: str | None = None) -> None:
    """What needs no weights, done while they arrive. What fails here fails in ``load`` too."""
    channel.send(Loading(detail=f"starting the {plan.family.name} engine"))
    with suppress(Exception), start.spans.span("imports"):
        module = _module(plan, engine_module)
        module.prepare(plan, start)
        import av  # noqa: F401 - as Pillow, for the first clip
        from PIL import Image  # noqa: F401


def load(plan: Plan, channel: Channel, start: Start, engine_module: str | None = None) -> Engine | None:
    """The engine, or None when it cannot be loaded; the parent learns either.

    Files are loaded as they arrive; the engine is ready when the last one has, needed or not.
    """
    started = time.monotonic()
    try:
        with start.spans.span("load"):
            engine = _module(plan, engine_module).load(plan, start)
            Arriving(plan.arrivals, start).wait_for_all()
    except Exception as error:
        log.exception("the model cannot be loaded")
        channel.send(failure.of_load(plan, error))
        return None
    seconds = round(time.monotonic() - started, 2)
    channel.send(
        Ready(detail=f"{plan.model} loaded in {seconds:.1f} s", timings=_timings(start.spans, seconds))
    )
    return engine


def _module(plan: Plan, engine_module: str | None) -> EngineModule:
    found = importlib.import_module(engine_module or plan.family.module)
    return cast(EngineModule, found)


def _timings(spans: Spans, load_seconds: float | None = None) -> Timings:
    return Timings.model_validate({"load_seconds": load_seconds, "spans": spans.so_far()})


def make(pipeline: Pipeline, plan: Plan, run: Run, channel: Channel, *, rank: int = 0) -> Clip:
    """One clip, of which rank 0 writes the file. Raises what its stages raise."""
    started = time.monotonic()
    values = Values.of(run.values)
    peak = PeakMemory(plan.device)

    def watch(estimate: Estimate) -> None:
        stage = (estimate.stage or "")[:STAGE_LENGTH]
        eta = None if estimate.eta_seconds is None else round(estimate.eta_seconds, 1)
        channel.report(stage, Progress(stage=stage, progress=round(estimate.progress, 4), eta_seconds=eta))

    tags = Metadata(model=plan.model, kit_version=plan.kit_version, values=run.values)
    made = pipeline.run(
        values,
        run.image,
        sinks=[sinks.File(run.path, tags)] if rank == 0 else [],
        photo=run.path.with_name(f"photo-{rank}.png"),
        watch=watch,
        cancelled=channel.cancelled,
    )
    stages = {f"{stage}_seconds": round(seconds, 3) for stage, seconds in made.seconds.items()}
    return Clip(
        model=plan.model,
        profile=plan.profile,
        device=plan.device,
        kit_version=plan.kit_version,
        seed=values.seed,
        frames=made.frames,
        bytes=run.path.stat().st_size if rank == 0 else 0,
        timings={**stages, "total_seconds": round(time.monotonic() - started, 3)},
        peak_memory_bytes=peak.bytes(),
    )


class PeakMemory:
    """The most memory that a clip took: of the GPU's, as its allocator counts; else of this process."""

    def __init__(self, device: str) -> None:
        self._cuda = sys.modules["torch"].cuda if device == "cuda" and "torch" in sys.modules else None
        if self._cuda is not None:
            self._cuda.reset_peak_memory_stats()

    def bytes(self) -> int:
        if self._cuda is not None:
            return int(self._cuda.max_memory_allocated())
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def serve(engine: Engine, plan: Plan, channel: Channel, *, rank: int = 0) -> None:
    """One clip after the other. An error ends the job, not the child, unless the GPU's context is broken."""
    pipeline = Pipeline(engine)
    for run in channel.runs():
        with logs.about(job_id=run.job_id):
            _serve_one(pipeline, plan, run, channel, rank=rank)


def _serve_one(pipeline: Pipeline, plan: Plan, run: Run, channel: Channel, *, rank: int) -> None:
    try:
        clip = make(pipeline, plan, run, channel, rank=rank)
    except Cancel:
        channel.send(Cancelled())
    except Exception as error:
        if failure.is_fault(error):
            log.exception("the GPU's context is broken")
            sys.exit(FAULT_EXIT)
        channel.send(failure.of_job(plan, error))
    else:
        channel.send(Done(clip=clip))


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m services.worker.child")
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--plan", type=Path, required=True)
    parser.add_argument("--rank", type=int, default=0)
    parser.add_argument("--world", type=int, default=1)
    parser.add_argument("--engine", help="a module like those in services.engines; else the plan's family")
    parser.add_argument("--log-format", choices=("text", "json"), default="text")
    arguments = parser.parse_args(argv)
    logs.begin(arguments.log_format)
    # A signal to the whole group or service is its parent's business: the end of the socket ends this.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)  # what it starts itself ends as ever
    channel = Channel(socket.socket(fileno=arguments.fd))
    plan = Plan.read(arguments.plan)
    start = begin(channel, arguments.rank, arguments.world)
    prepare(plan, channel, start, arguments.engine)
    engine = load(plan, channel, start, arguments.engine)
    if engine is None:
        sys.exit(1)
    serve(engine, plan, channel, rank=arguments.rank)


if __name__ == "__main__":
    main()
