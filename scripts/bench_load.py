"""What reading costs: status reads, lists and creates beside a busy worker and many event streams.

python scripts/bench_load.py [--seconds 10] [--only "1,000 queued"] [--streams 0,20,50,200] [--no-cpu]; also
``make bench-load``. Prints two Markdown tables: a real front process under load, and the CPU time of the
queue's calls. Linux; the machine should be calm.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
from sqlalchemy import Engine, insert

from services.queue import rows, table
from services.queue.job import Abilities, Job, NewJob
from services.queue.queue import Queue

MODEL = "demo-wan"
VALUES = {"num_frames": 81, "width": 832, "height": 480, "fps": 16, "num_inference_steps": 4, "seed": 7}
READS, LISTS, CREATES, BEATS = 50, 5, 1, 1  # a second
WARM_UP_SECONDS = 2.0
CLIP_SECONDS = 20.0
MOST_QUEUED = 100_000
CASES = {"1,000 queued": (1000, 0), "1,000 queued + 99,000 finished": (1000, 99_000)}
CALLS = {
    "1k queued": (1000, 0, 1),
    "10k rows": (1000, 9_000, 1),
    "100k rows": (1000, 99_000, 1),
    "100k rows, 10k queued of 1,000 owners": (10_000, 90_000, 1000),
}
PLAN: dict[str, Any] = {
    "kit_version": "0.1.0", "device": "cpu", "profile": "tiny", "settings": {}, "components": {},
    "config": None, "threads": 2, "model": MODEL, "title": "Demo Wan", "family": "wan", "inputs": ["text"],
    "defaults": {
        "size": "832x480", "num_frames": 81, "fps": 16, "num_inference_steps": 4, "guidance_scale": 1.0,
        "shift": 5.0, "lora": True, "lora_high_strength": 1.0, "lora_low_strength": 1.0,
    },
    "recipe": {"steps_without_lora": 20, "guidance_without_lora": 3.5, "shift_without_lora": 8.0},
    "limits": {"size_multiple": 16, "frame_step": 4, "max_frames": 121, "max_pixel_frames": 832 * 480 * 81},
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--streams", default="0,20,50,200")
    parser.add_argument("--only", choices=CASES, help="one of the libraries; else all")
    parser.add_argument("--no-cpu", action="store_true", help="leave the table of the queue's calls out")
    given = parser.parse_args()
    print("| rows / streams | read p50 / p99 | list p50 / p99 | create p50 / p99 | front CPU, RSS |")
    print("|---|---|---|---|---|")
    for name in [given.only] if given.only else CASES:
        for streams in map(int, given.streams.split(",")):
            with tempfile.TemporaryDirectory() as folder:
                print(asyncio.run(load(Path(folder), name, streams, given.seconds)), flush=True)
    if not given.no_cpu:
        print_calls()


# -- a library --------------------------------------------------------------------------------------


def fill(engine: Engine, *, queued: int, finished: int, owners: int = 1) -> None:
    """Rows as the queue would have written them."""
    now = time.time()

    def row(number: int, name: str) -> dict[str, Any]:
        owner = f"owner-{number % owners}" if owners > 1 else ""
        new = NewJob(f"{name}-{number}", MODEL, VALUES, prompt="a paper boat on a pond", owner=owner)
        return rows.of(new, now - 1e6 + number)

    def done(number: int) -> dict[str, Any]:
        began = now - 1e6 + number
        ended = {"started_at": began, "completed_at": began + CLIP_SECONDS, "content_name": "content-1.mp4"}
        return (
            row(number, "done") | ended | {"status": "completed", "progress": 1.0, "token": 1, "attempts": 1}
        )

    with engine.begin() as connection:
        for start in range(0, finished, 5000):
            connection.execute(
                insert(table.jobs), [done(n) for n in range(start, min(start + 5000, finished))]
            )
        if queued:
            connection.execute(insert(table.jobs), [row(n, "wait") for n in range(queued)])


@contextmanager
def library(folder: Path, *, queued: int, finished: int, owners: int = 1) -> Iterator[str]:
    url = f"sqlite:///{folder / 'jobs.db'}"
    engine = table.connect(url)
    fill(engine, queued=queued, finished=finished, owners=owners)
    engine.dispose()
    yield url


# -- a front under load -----------------------------------------------------------------------------


@dataclass
class Times:
    """Milliseconds of each answer."""

    reads: list[float] = field(default_factory=list)
    lists: list[float] = field(default_factory=list)
    creates: list[float] = field(default_factory=list)


async def load(folder: Path, name: str, streams: int, seconds: float) -> str:
    """One row of the table."""
    queued, finished = CASES[name]
    with library(folder, queued=queued, finished=finished):
        pass
    with front(folder) as (process, url):
        people = {"Authorization": f"Bearer {(folder / 'token').read_text().split()[0]}"}
        workers = {"Authorization": f"Bearer {(folder / 'worker-token').read_text().split()[0]}"}
        times = Times()
        async with httpx.AsyncClient(base_url=url, headers=people, timeout=60) as client:
            job = await claim(url, workers)
            running = [asyncio.create_task(beat(url, workers, job))]
            running += [
                asyncio.create_task(follow(url, people, f"wait-{queued - 1 - number}"))
                for number in range(streams)
            ]
            running += drive(client, times, queued)
            await asyncio.sleep(WARM_UP_SECONDS)
            for each in (times.reads, times.lists, times.creates):
                each.clear()
            before = sum(process.cpu_times()[:2])
            await asyncio.sleep(seconds)
            cores = (sum(process.cpu_times()[:2]) - before) / seconds
            rss = process.memory_info().rss / 1024**2
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
    figures = " | ".join(spread(each, seconds) for each in (times.reads, times.lists, times.creates))
    return f"| {name} / {streams} | {figures} | {cores:.2f} cores, {rss:.0f} MiB |"


def spread(times: list[float], seconds: float) -> str:
    """The median and the 99th percentile."""
    if not times:
        return f"no answer in {seconds:.0f} s"
    found = sorted(times)
    return f"{found[len(found) // 2]:.0f} / {found[min(int(len(found) * 0.99), len(found) - 1)]:.0f} ms"


@contextmanager
def front(folder: Path) -> Iterator[tuple[psutil.Process, str]]:
    """A real front process, once it answers."""
    (folder / "plan.json").write_text(json.dumps(PLAN | {"data_dir": str(folder)}))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    command = [sys.executable, "-m", "services.front.app", "--data-dir", str(folder), "--port", str(port)]
    settings = json.dumps({"auth": "on", "max_queued": MOST_QUEUED})
    with (folder / "front.log").open("w") as log:
        process = subprocess.Popen(
            [*command, "--settings", "-"], stdin=subprocess.PIPE, stdout=log, stderr=log, text=True
        )
        assert process.stdin is not None
        process.stdin.write(settings)
        process.stdin.close()
        url = f"http://127.0.0.1:{port}"
        try:
            wait_until_up(process, url, folder / "front.log")
            yield psutil.Process(process.pid), url
        finally:
            process.terminate()
            process.wait(30)


def wait_until_up(process: subprocess.Popen[str], url: str, log: Path) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        with suppress(httpx.HTTPError):
            if httpx.get(f"{url}/healthz").status_code == 200:
                return
        time.sleep(0.1)
    raise SystemExit(f"error: the front did not start\n{log.read_text()[-2000:]}")


async def claim(url: str, headers: dict[str, str]) -> dict[str, Any]:
    async with httpx.AsyncClient(base_url=f"{url}/internal", headers=headers, timeout=60) as client:
        (await client.post("/workers/box-0/state", json={"state": "ready"})).raise_for_status()
        answer = await client.post("/claim", json={"worker": "box-0", "models": [MODEL], "wait_seconds": 0})
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found


async def beat(url: str, headers: dict[str, str], job: dict[str, Any]) -> None:
    """A busy worker: a beat a second, and a report every five."""
    async with httpx.AsyncClient(base_url=f"{url}/internal", headers=headers, timeout=60) as client:
        for number in forever():
            said = {
                "token": job["token"],
                "progress": min(number / 100, 0.9),
                "eta_seconds": 15.0,
                "stage": "sample",
            }
            (await client.post(f"/jobs/{job['id']}/beat", json=said)).raise_for_status()
            if number % 5 == 0:
                await client.post("/workers/box-0/state", json={"state": "ready"})
            await asyncio.sleep(1 / BEATS)


async def follow(url: str, headers: dict[str, str], video: str) -> None:
    """An event stream, read as bytes: this process must not be what is slow."""
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    lines = [
        f"GET /v1/videos/{video}/events HTTP/1.1",
        f"Host: {host}",
        f"Authorization: {headers['Authorization']}",
    ]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    try:
        while await reader.read(65536):
            pass
    finally:
        writer.close()


def drive(client: httpx.AsyncClient, times: Times, queued: int) -> list[asyncio.Task[None]]:
    async def read(number: int) -> httpx.Response:
        return await client.get(f"/v1/videos/wait-{queued - 1 - number * 7 % (queued - 1)}")

    async def page(_number: int) -> httpx.Response:
        return await client.get("/v1/videos")

    async def create(number: int) -> httpx.Response:
        return await client.post("/v1/videos", json={"prompt": f"a cat {number}"})

    plan = ((read, READS, times.reads), (page, LISTS, times.lists), (create, CREATES, times.creates))
    return [asyncio.create_task(repeat(ask, rate, noted)) for ask, rate, noted in plan]


async def repeat(ask: Callable[[int], Any], rate: int, times: list[float]) -> None:
    """So many a second, whether the ones before were answered or not; 50 under way at most."""
    under_way: set[asyncio.Task[None]] = set()

    async def timed(number: int) -> None:
        began = time.perf_counter()
        (await ask(number)).raise_for_status()
        times.append((time.perf_counter() - began) * 1000)

    began = time.monotonic()
    try:
        for number in forever():
            await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
            if len(under_way) < 50:
                task = asyncio.create_task(timed(number))
                under_way.add(task)
                task.add_done_callback(under_way.discard)
    finally:
        for task in under_way:
            task.cancel()


def forever() -> Iterator[int]:
    number = 0
    while True:
        yield number
        number += 1


# -- the queue's calls ------------------------------------------------------------------------------


def print_calls() -> None:
    """CPU milliseconds of one call, in one thread."""
    found = {name: calls(*sizes) for name, sizes in CALLS.items()}
    print(f"\n| CPU ms of a call | {' | '.join(found)} |\n|---{'|---' * len(found)}|")
    for call in next(iter(found.values())):
        print(f"| {call} | {' | '.join(f'{each[call]:.1f}' for each in found.values())} |")


def calls(queued: int, finished: int, owners: int) -> dict[str, float]:
    with (
        tempfile.TemporaryDirectory() as folder,
        library(Path(folder), queued=queued, finished=finished, owners=owners) as url,
    ):
        queue = Queue(url)
        last = queue.get(f"wait-{queued - 1}")
        assert last is not None
        found = {name: cpu_ms(verb) for name, verb in verbs(queue, last).items()}
        queue.close()
        return found


def verbs(queue: Queue, last: Job) -> dict[str, Callable[[int], Any]]:
    def new(number: int) -> NewJob:
        return NewJob(f"new-{number}", MODEL, VALUES, prompt="a cat")

    def turn(_number: int) -> None:
        job = queue.claim("w", Abilities((MODEL,)))
        assert job is not None
        queue.release(job.id, job.token)

    return {
        "get": lambda _: queue.get(last.id),
        "page(20)": lambda _: queue.page(limit=20),
        "enqueue": lambda number: queue.enqueue(new(number), max_queued=MOST_QUEUED),
        "typical_seconds": lambda _: queue.typical_seconds(MODEL),
        "ahead": lambda _: queue.ahead(last),
        "line (once a second for all)": lambda _: queue.line().places(lambda _model: 1),
        "claim + release": turn,
        "counts": lambda _: queue.counts(),
    }


def cpu_ms(verb: Callable[[int], Any], times: int = 30) -> float:
    for number in range(3):
        verb(-1 - number)
    began = time.process_time()
    for number in range(times):
        verb(number)
    return (time.process_time() - began) / times * 1000


if __name__ == "__main__":
    main()
