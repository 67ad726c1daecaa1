"""What was measured: printed at once, and kept as JSON where the environment names a folder in OUT."""

from __future__ import annotations

import json
import os
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from . import device

results: dict[str, Any] = {}


def put(name: str, value: Any) -> None:
    results[name] = value
    print(f"{name}: {value}", flush=True)
    if folder := os.environ.get("OUT"):
        (Path(folder) / "bench_wan.json").write_text(json.dumps(results, indent=1, default=str))


def guard(name: str, step: Callable[[], None]) -> None:
    """One part that fails must not end the others."""
    started = time.perf_counter()
    try:
        step()
    except Exception:
        put(f"{name}_failed", traceback.format_exc()[-1500:])
    put(f"{name}_took_s", round(time.perf_counter() - started, 1))
    device.empty()


def median_ms(run: Callable[[], Any], times: int = 5, warm: int = 2) -> float:
    for _ in range(warm):
        run()
    spans: list[float] = []
    for _ in range(times):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        run()
        end.record()
        end.synchronize()
        spans.append(begin.elapsed_time(end))
    return sorted(spans)[len(spans) // 2]


def distance(got: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((got.float() - wanted.float()).norm() / wanted.float().norm())


def quiet(*_: Any) -> None:
    return None


def never() -> bool:
    return False
