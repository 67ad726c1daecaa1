"""The GPU child: holds the model and makes clips. Talks JSON lines with its parent over a socket.

In:   {"run": {"values": …, "image": path or null, "path": where the MP4 goes}}, {"cancel": true}
Out:  {"event": "loading", "detail", "progress"}, "ready" {"timings", "detail"}, "failed" {"problem", "fix"},
      "progress" {"stage", "progress", "eta_seconds"}, and for each run one of
      "done" {"metadata"}, "cancelled", "error" {"code", "message", "metadata"}
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import queue
import secrets
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from bootstrap.choose.plan import Plan
from bootstrap.errors import KitError
from services.engines.base import Cancel, Engine, EngineModule, OutOfMemory, Start, is_out_of_memory
from services.engines.start import spans
from services.engines.start.files import Arriving
from services.parameters.values import Values
from services.worker.estimate import SHARES, Estimate

log = logging.getLogger("kinokit.child")

SAY_SECONDS = 0.2
FAULT_EXIT = 71  # the GPU's context is broken: only a new process can use it


class Channel:
    """The socket to the parent. ``orders`` ends when the parent does."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self._lock = threading.Lock()
        self._runs: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._cancelled = threading.Event()
        self._said_at, self._topic = 0.0, ""
        threading.Thread(target=self._listen, name="orders", daemon=True).start()

    def say(self, event: str, **values: Any) -> None:
        line = json.dumps({"event": event, **values}).encode() + b"\n"
        with self._lock:
            self._link.sendall(line)

    def mention(self, event: str, topic: str, **values: Any) -> None:
        """Said only when the topic is new or the last word was a moment ago: for progress."""
        now = time.monotonic()
        if topic != self._topic or now - self._said_at >= SAY_SECONDS:
            self._topic, self._said_at = topic, now
            self.say(event, **values)

    def orders(self) -> Iterator[dict[str, Any]]:
        while (order := self._runs.get()) is not None:
            yield order

    def cancelled(self) -> bool:
        return self._cancelled.is_set()

    def _listen(self) -> None:
        with self._link.makefile("rb") as lines:
            for line in lines:
                message = json.loads(line)
                if "run" in message:
                    self._cancelled.clear()
                    self._runs.put(message["run"])
                else:
                    self._cancelled.set()
        self._runs.put(None)


def prepare(plan: Plan, channel: Channel, engine_module: str | None = None) -> None:
    """What needs no weights, done while they arrive. What fails here fails in ``load`` too, and is told."""
    channel.say("loading", detail=f"starting the {plan.family.name} engine", progress=None)
    with suppress(Exception), spans.span("imports"):
        module = _module(plan, engine_module)
        module.prepare(plan)
        from services.video import encode, fit, metadata  # noqa: F401 - PyAV and Pillow, for the first clip


def load(plan: Plan, channel: Channel, engine_module: str | None = None) -> Engine | None:
    """The engine, or None when it cannot be loaded; the parent is told either way.

    Files are loaded as they arrive; the engine is ready when the last one has, needed or not.
    """
    started = time.monotonic()

    def report(stage: str, done: int, total: int) -> None:
        progress = min(1.0, done / total) if total else None
        channel.mention("loading", stage, detail=stage, progress=progress, timings=_timings())

    try:
        with spans.span("load"):
            engine = _module(plan, engine_module).load(plan, Start(report))
            Arriving(plan.arrivals, report).wait_for_all()
    except Exception as error:
        log.exception("the model cannot be loaded")
        channel.say("failed", **_load_failure(plan, error))
        return None
    seconds = round(time.monotonic() - started, 2)
    timings = {"load_seconds": seconds, **_timings()}
    channel.say("ready", timings=timings, detail=f"{plan.model} loaded in {seconds:.1f} s")
    return engine


def _module(plan: Plan, engine_module: str | None) -> EngineModule:
    found = importlib.import_module(engine_module or plan.family.module)
    return cast(EngineModule, found)


def _timings() -> dict[str, Any]:
    return {"spans": spans.so_far()}


def make(
    engine: Engine, plan: Plan, order: Mapping[str, Any], channel: Channel, shares: dict[str, float]
) -> dict[str, Any]:
    """One clip; its metadata. Raises what the engine raises."""
    from services.video import encode, fit, metadata  # PyAV and Pillow, once the model is loaded

    values, path = order["values"], Path(order["path"])
    started = time.monotonic()
    warnings: tuple[str, ...] = ()
    image = Path(order["image"]) if order["image"] else None
    if image is not None:
        fitted = path.with_suffix(".png")
        size = {"width": values["width"], "height": values["height"]}
        warnings = fit.photo(image, fitted, fit=values.get("fit") or "crop", **size)
        image = fitted
    estimate = Estimate(shares)
    peak = PeakMemory(plan.device)

    def report(stage: str, done: int, total: int) -> None:
        estimate.advance(stage, done, total)
        eta = None if estimate.eta_seconds is None else round(estimate.eta_seconds, 1)
        channel.mention("progress", stage, stage=stage, progress=round(estimate.progress, 4), eta_seconds=eta)

    tags = metadata.Metadata(model=plan.model, kit_version=plan.kit_version, values=dict(values))
    with encode.Writer(path, fps=values["fps"], metadata=tags) as writer:
        for frame in engine.generate(Values.of(values), image, report, channel.cancelled):
            if channel.cancelled():
                raise Cancel
            writer.add(frame)
    stages = {f"{stage}_seconds": round(seconds, 3) for stage, seconds in estimate.finish().items()}
    return {
        "model": plan.model,
        "profile": plan.profile,
        "device": plan.device,
        "kit_version": plan.kit_version,
        "seed": values["seed"],
        "frames": writer.frames,
        "bytes": path.stat().st_size,
        "timings": {**stages, "total_seconds": round(time.monotonic() - started, 3)},
        "peak_memory_bytes": peak.bytes(),
        "warnings": list(warnings),
    }


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

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def serve(engine: Engine, plan: Plan, channel: Channel) -> None:
    """One order after the other. An error ends the job, not the child, unless the GPU's context is broken."""
    shares = dict(SHARES)
    for order in channel.orders():
        try:
            metadata = make(engine, plan, order, channel, shares)
        except Cancel:
            channel.say("cancelled")
        except Exception as error:
            if _is_fault(error):
                log.exception("the GPU's context is broken")
                sys.exit(FAULT_EXIT)
            channel.say("error", **_failure(plan, error))
        else:
            channel.say("done", metadata=metadata)


def _failure(plan: Plan, error: Exception) -> dict[str, Any]:
    """The job's error: what a user can act on in full, a bug by the number under which the log has it."""
    if isinstance(error, OutOfMemory) or is_out_of_memory(error):
        log.error("out of memory: %s", error)
        return {"code": "out_of_memory", "message": _out_of_memory(plan, error), "metadata": {}}
    if isinstance(error, KitError):
        log.error("%s", error)
        return {"code": "generation_failed", "message": f"{error.problem}; {error.fix}", "metadata": {}}
    number = secrets.token_hex(4)
    log.error("error %s", number, exc_info=error)
    text = f"making the clip failed with a bug of the kit ({type(error).__name__}, error {number} in the log)"
    return {"code": "generation_failed", "message": text, "metadata": {"error_id": number}}


def _load_failure(plan: Plan, error: Exception) -> dict[str, str]:
    if isinstance(error, KitError):
        return {"problem": error.problem, "fix": error.fix}
    if isinstance(error, OutOfMemory) or is_out_of_memory(error):
        return {"problem": f"{plan.model} could not be loaded: {error}", "fix": _smaller(plan)}
    return {
        "problem": f"{plan.model} could not be loaded: {type(error).__name__}: {error}"[:500],
        "fix": "the traceback is in the worker's log: kinokit logs --worker",
    }


def _out_of_memory(plan: Plan, error: Exception) -> str:
    numbers = ""
    if isinstance(error, OutOfMemory):
        gib = 1024**3
        wanted = f"{error.wanted_bytes / gib:.2f} GiB more were wanted, " if error.wanted_bytes else ""
        numbers = f" ({wanted}{error.peak_bytes / gib:.1f} of {error.total_bytes / gib:.1f} GiB were in use)"
    advice = f"ask for a smaller size or fewer frames, or {_smaller(plan)}"
    whose = "GPU" if plan.device == "cuda" else "machine"
    return f"the {whose}'s memory did not suffice{numbers}; {advice}"


def _smaller(plan: Plan) -> str:
    """Advice: the next profile of the model that needs less memory and runs wherever this one does."""
    from bootstrap.choose import profile, reading  # only for this message

    try:
        following = profile.smaller(reading.load(plan.model), plan.profile)
    except KitError:
        following = None
    if following is None:
        return f"rent a {'GPU' if plan.device == 'cuda' else 'machine'} with more memory"
    return f"start the smaller profile: kinokit up --model {plan.model} --profile {following.name}"


def _is_fault(error: Exception) -> bool:
    return type(error).__name__ == "AcceleratorError" or str(error).startswith("CUDA error")


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m services.worker.child")
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--plan", type=Path, required=True)
    parser.add_argument("--engine", help="a module like those in services.engines; else the plan's family")
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    channel = Channel(socket.socket(fileno=arguments.fd))
    plan = Plan.read(arguments.plan)
    prepare(plan, channel, arguments.engine)
    engine = load(plan, channel, arguments.engine)
    if engine is None:
        sys.exit(1)
    serve(engine, plan, channel)


if __name__ == "__main__":
    main()
