"""Jobs are asked for while processes of every role are killed at random moments; then what became of them."""

from __future__ import annotations

import random
import signal
import statistics
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import psutil

from .light_kit import LightKit

ROLES = ("agent", "front", "worker", "child", "all")
SECONDS = (0.5, 3.0)  # between an answer and the next kill


@dataclass(frozen=True)
class Kill:
    role: str
    silent_seconds: float  # until the kit answered again


def run(kit: LightKit, *, jobs: int, kills: int, number: signal.Signals, seed: int) -> str:
    """One row of the table."""
    draws = random.Random(seed)  # noqa: S311
    kit.up()
    kit.wait("/readyz")
    over = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(_ask, kit, jobs, seed, over)
        try:
            done = [_kill(kit, draws, number) for _ in range(kills)]
        finally:
            over.set()
        ids = asked.result()
    return _row(kit, ids, done, f"{jobs} jobs, {number.name}, seed {seed}")


def _ask(kit: LightKit, jobs: int, seed: int, over: threading.Event) -> list[str]:
    """One after the other at random moments, so that some are asked for while nobody answers."""
    draws = random.Random(seed + 1000)  # noqa: S311
    ids = []
    for job in range(jobs):
        ids.append(kit.ask(f"key-{job}", seed=job, photo=job % 2 == 0))
        over.wait(draws.uniform(0.2, 2.0))
    return ids


def _kill(kit: LightKit, draws: random.Random, number: signal.Signals) -> Kill:
    time.sleep(draws.uniform(*SECONDS))
    role = draws.choice(ROLES)
    until = time.monotonic() + 60
    while not _hit(kit, role, number) and time.monotonic() < until:
        time.sleep(0.05)  # it is just being started
    return Kill(role, kit.wait("/healthz"))


def _hit(kit: LightKit, role: str, number: signal.Signals) -> bool:
    try:
        return kit.hit(role, number)
    except psutil.NoSuchProcess:
        return False


def _row(kit: LightKit, ids: list[str], kills: list[Kill], title: str) -> str:
    ended = [kit.ended(each, 600) for each in ids]
    status = Counter(job.get("status", "lost") for job in ended)
    codes = Counter(job["error"]["code"] for job in ended if job.get("status") == "failed")
    rows = kit.videos()
    torn = sum(_is_torn(kit, job) for job in ended if job.get("status") == "completed")
    folders = {path.name for path in (kit.data_dir / "jobs").iterdir()}
    silent = [kill.silent_seconds for kill in kills]
    roles = Counter(kill.role for kill in kills)
    left = [
        status["lost"] + status["queued"] + status["in_progress"],
        len(rows) - len(set(ids)),
        torn,
        len(folders - {job["id"] for job in rows}),
        len(list((kit.data_dir / "jobs").rglob("*.part"))),
        len(list((kit.data_dir / "cache/scratch").glob("*/*"))),
    ]
    cells = [
        title,
        f"{len(kills)}: " + ", ".join(f"{role} {count}" for role, count in roles.most_common()),
        f"{status['completed']} of {len(ids)}",
        ", ".join(f"{count} {code}" for code, count in codes.items()) or "0",
        " / ".join(map(str, left)),
        str(len(kit.ledger())),
        str(max(job.get("attempt", 0) for job in ended)),
        f"{statistics.median(silent):.1f} / {max(silent):.1f} s",
    ]
    return f"| {' | '.join(cells)} |"


def _is_torn(kit: LightKit, job: dict[str, object]) -> bool:
    metadata = job["metadata"]
    assert isinstance(metadata, dict)
    return bool(len(kit.http.get(f"/v1/videos/{job['id']}/content").content) != metadata["bytes"])


HEAD = """\
| run | kills | completed | failed | lost / doubled / torn / orphan folders / .part / scratch | begun \
| most attempts | no answer: p50 / max |
|---|---|---|---|---|---|---|---|"""
