"""Prints which kernels, in which forms, a clip and the warmup ask Triton for: run by test_svd_warmup.py.

There is no GPU: tensors only say that they lie on one, Triton's driver is a card by name, and nothing is
compiled or computed by kernels. What a kernel is specialised for is Triton's own decision, on true pointers.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from triton import knobs
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.jit import JITFunction

from bootstrap.choose.plan import Plan
from services.engines.base import Start
from services.engines.start.files import Arriving
from services.engines.svd import checkpoint, warmup
from services.engines.svd.engine import SvdEngine
from services.engines.svd.settings import Settings
from services.parameters.values import Values


class Card:
    """What Triton asks of a driver before it compiles."""

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", 90, 32)

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0


class Event:
    """Of a GPU that has always done everything."""

    def record(self) -> None: ...

    def synchronize(self) -> None: ...


def launches() -> set[str]:
    """From now on every kernel that Triton is asked for is put down here."""
    found: set[str] = set()

    def note(*, fn: Any, compile: dict[str, Any], **_: Any) -> bool:
        form = {key: str(compile[key]) for key in ("signature", "constants", "configs", "num_warps")}
        found.add(json.dumps({"kernel": fn.name, **form}))
        return True  # done: nothing is compiled

    knobs.runtime.jit_cache_hook = note
    return found


def clip(plan: Plan, record: dict[str, Any]) -> None:
    """As a child makes one with the same weights on a GPU."""
    torch.Tensor.is_cuda = property(lambda self: True)  # type: ignore[assignment]
    torch.cuda.Event = Event  # type: ignore[assignment,misc]
    launch = JITFunction.run
    JITFunction.run = lambda *a, **options: launch(*a, **options | {"warmup": True})
    cpu = torch.device("cpu")
    start = Start(_ignore)
    arriving = Arriving(None, start)
    parts = checkpoint.read(plan.components["pipeline"], cpu, torch.float16, arriving, start)
    engine = SvdEngine(parts, cpu, Settings.of(plan))
    frames = engine.generate(Values.of(record), Path(record["photo"]), _ignore, lambda: False)
    assert len(list(frames)) == record["num_frames"]


def _ignore(stage: str, done: int, total: int) -> None: ...


def main() -> None:
    plan = Plan.model_validate_json(sys.argv[1])
    driver.set_active(Card())
    ready = launches()
    warmup.compile_kernels(plan)
    asked = launches()
    if len(sys.argv) > 2:
        clip(plan, json.loads(sys.argv[2]))
    print(json.dumps({"warmup": sorted(ready), "clip": sorted(asked)}))


if __name__ == "__main__":
    main()
