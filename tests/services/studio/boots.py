"""Boot documents as the agent writes them, at the moments that a visitor meets."""

from __future__ import annotations

import time
from typing import Any

GB = 10**9


def boot(state: str, **more: Any) -> dict[str, Any]:
    return {
        "state": state, "model": "wan22", "title": "Wan 2.2 T2V A14B", "service": "ui", "platform": "vast",
        "url": "http://203.0.113.7:40123", "started_at": time.time() - 75, "findings": [], "failure": None,
        "hourly_cost": 2.39, "phases": [phase("detect", 0.3, "NVIDIA H200, 139 GiB free"),
                                        phase("choose", 0.1, "fp8: both experts stay in GPU memory")],
    } | more  # fmt: skip


def phase(name: str, seconds: float, detail: str = "", **more: Any) -> dict[str, Any]:
    start = time.time() - 70
    return {
        "name": name,
        "state": "done",
        "started_at": start,
        "ended_at": start + seconds,
        "detail": detail,
    } | more


def fetching(part: float) -> dict[str, Any]:
    files = [
        file("high_noise_14B_fp8_scaled.safetensors", 14, 1),
        file("low_noise_14B_fp8_scaled.safetensors", 14, part),
        file("umt5_xxl_fp8_e4m3fn_scaled.safetensors", 7, part),
    ]
    total, done = 35 * GB, sum(file["bytes_done"] for file in files)
    fetch = phase("fetch", 0, state="running", ended_at=None, bytes_done=done, bytes_total=total, files=files,
                  bytes_per_second=310e6, eta_seconds=(total - done) / 310e6)  # fmt: skip
    document = boot("fetching")
    return document | {"phases": [*document["phases"], fetch]}


def file(path: str, gigabytes: int, part: float) -> dict[str, Any]:
    total = gigabytes * GB
    state = "done" if part == 1 else "running"
    return {"path": path, "bytes_done": int(total * part), "bytes_total": total, "state": state}


def failed() -> dict[str, Any]:
    document = fetching(0.2)
    document["phases"][-1] |= {"state": "failed", "ended_at": time.time()}
    failure = {
        "problem": "The disk is full: 35 GB are needed, 12.1 GB are free.",
        "fix": "Rent a machine with at least 60 GB of disk, or choose wan22-5b, which needs 18 GB.",
        "phase": "fetch",
    }
    return document | {"state": "failed", "failure": failure}


def launched(**more: Any) -> dict[str, Any]:
    document = boot("launching", **more)
    return document | {"phases": [*document["phases"], phase("fetch", 40), phase("launch", 1)]}


def timed(state: str = "ready") -> dict[str, Any]:
    """With a timeline: a download beside which the worker imported."""
    document = launched()
    start = document["started_at"]

    def span(name: str, track: str, begin: float, end: float | None, **more: Any) -> dict[str, Any]:
        ended = None if end is None else start + end
        known = {"bytes": None, "bytes_per_second": None, "waited_for": None, "detail": None}
        return {"name": name, "track": track, "started_at": start + begin, "ended_at": ended} | known | more

    spans = [
        span("port", "kit", 0, 0.2),
        span("fetch", "kit", 2, 42, waited_for="choose"),
        span("high_noise_14B.safetensors", "download", 2, 42, bytes=14 * GB, bytes_per_second=350e6),
        span("imports", "box-0", 4, 14, waited_for="choose"),
        span("load", "box-0", 42, None),
    ]
    prediction = {"download_seconds": 38.0, "load_seconds": 4.0, "ready_seconds": 44.0}
    return document | {"state": state, "timeline": spans, "prediction": prediction}
