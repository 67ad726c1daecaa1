"""A job that does harm, and an honest one behind it: what becomes of them, and how long the latter waits."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from services.queue.job import Abilities, NewJob
from services.queue.lease_clock import LeaseClock
from services.queue.queue import Queue

from .light_kit import LightKit

HEAD = "| accident | what becomes of it | the next job | readyz meanwhile |\n|---|---|---|---|"
STALL_SECONDS = 5


def run(kit: LightKit) -> list[str]:
    """The rows. The kit was made with ``stall_seconds`` as above."""
    kit.up()
    kit.wait("/readyz")
    kit.ended(kit.ask("warm"))
    return [
        _row(kit, "a job that kills its child", ["poison"]),
        _row(kit, "three of them in a row", ["poison"] * 3),
        _row(kit, f"a job that hangs (stall_seconds {STALL_SECONDS})", ["hang"]),
        _row(kit, "its photo is gone", ["gone"]),
        *(_clock_row(kit.folder, hours) for hours in (1, -1)),
    ]


def _row(kit: LightKit, title: str, prompts: list[str]) -> str:
    mark = f"{title}-{time.monotonic()}"
    first = kit.ask(f"first-{mark}")  # they wait behind it, so that there is time to remove a photo
    bad = [kit.ask(f"{mark}-{number}", prompt=prompt, photo=True) for number, prompt in enumerate(prompts)]
    honest = kit.ask(f"honest-{mark}")
    if prompts == ["gone"]:
        for path in (kit.data_dir / "jobs" / bad[0]).iterdir():
            path.unlink()
    kit.ended(first)
    began, ready = time.monotonic(), set()
    while (job := kit.job(honest)).get("status") in ("queued", "in_progress"):
        ready.add(kit.http.get("/readyz").status_code)
        time.sleep(0.05)
    waited = time.monotonic() - began
    codes = {_code(kit.ended(each)) for each in bad}
    said = f"{job['status']} after {waited:.1f} s, attempt {job['attempt']}"
    return f"| {title} | {', '.join(sorted(codes))} | {said} | {', '.join(map(str, sorted(ready)))} |"


def _code(job: dict[str, Any]) -> str:
    return str((job.get("error") or {}).get("code", job.get("status")))


def _clock_row(folder: Path, hours: int) -> str:
    """Of the queue alone: no bench may set the machine's clock."""
    jumped, seconds = [0.0], 100.0
    wall: Callable[[], float] = lambda: time.time() + jumped[0]  # noqa: E731 - a clock
    monotonic = [seconds]
    url = f"sqlite:///{folder / f'clock{hours}.db'}"
    queue = Queue(url, clock=wall, leases_by=LeaseClock("bench", lambda: monotonic[0]))
    queue.enqueue(NewJob(id="a", model="light", values={}), max_queued=10)
    held = queue.claim("box-0", Abilities(("light",)))
    assert held is not None
    jumped[0] = hours * 3600.0
    rerun = queue.take_back()
    while queue.take_back() == 0 and monotonic[0] < 5000:
        monotonic[0] += 1
    queue.close()
    ran = "run again" if rerun else "goes on"
    back = f"a dead one is back after {monotonic[0] - seconds:.0f} s"
    return f"| the clock jumps by {hours:+d} h | the running job {ran} | {back} | |"
