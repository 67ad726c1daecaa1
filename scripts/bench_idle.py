"""What an idle kit costs: starts one, waits until it is ready, and measures all of its processes.

python scripts/bench_idle.py [--model demo] [--service api] [--seconds 30]; also ``make bench-idle``. With
--data-dir it measures the kit that runs there.
Linux: a wakeup is a voluntary context switch of any thread.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from bootstrap import data_directory
from bootstrap.launch import front_client

READY_SECONDS = 300.0
SETTLE_SECONDS = 5.0  # what follows at once on "ready" is no idleness yet


@dataclass(frozen=True)
class Use:
    """What one process used in a while."""

    cpu_seconds: float
    wakeups: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--service", default="api", choices=("api", "ui"))
    parser.add_argument("--port", type=int, default=8791)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--data-dir", type=Path, help="of a kit that runs and is ready")
    given = parser.parse_args()
    if given.data_dir:
        record = data_directory.record(given.data_dir) or {}
        show(measure(psutil.Process(record["pid"]), given.seconds), given.seconds)
        return
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "services.cli", "up", "--model", given.model]
        command += ["--service", given.service, "--host", "127.0.0.1", "--port", str(given.port)]
        with subprocess.Popen(
            [*command, "--data-dir", f"{folder}/data"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as kit:
            try:
                wait_until_ready(kit, f"http://127.0.0.1:{given.port}")
                time.sleep(SETTLE_SECONDS)
                show(measure(psutil.Process(kit.pid), given.seconds), given.seconds)
            finally:
                kit.terminate()


def wait_until_ready(kit: subprocess.Popen[bytes], url: str) -> None:
    until = time.monotonic() + READY_SECONDS
    while (front_client.get(url, "/readyz") or {}).get("state") != "ready":
        if kit.poll() is not None or time.monotonic() > until:
            raise SystemExit(
                f"error: the kit at {url} did not become ready\n  fix: try `kinokit up` yourself"
            )
        time.sleep(0.5)


def measure(agent: psutil.Process, seconds: float) -> dict[str, Use]:
    """What each process used meanwhile, by the module that it runs."""
    processes = [agent, *agent.children(recursive=True)]
    before = {process: (cpu_seconds(process), wakeups(process)) for process in processes}
    time.sleep(seconds)
    found: dict[str, Use] = {}
    for process, (cpu_before, woken_before) in before.items():
        # a thread that ended meanwhile took its number along, so threads are compared one by one
        woken = sum(count - woken_before.get(thread, 0) for thread, count in wakeups(process).items())
        found[role(process)] = Use(cpu_seconds(process) - cpu_before, woken)
    return found


def cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def wakeups(process: psutil.Process) -> dict[str, int]:
    """Of each thread, since it began."""
    found = {}
    for thread in Path(f"/proc/{process.pid}/task").iterdir():
        with suppress(FileNotFoundError):  # it ended just now
            lines = (thread / "status").read_text().splitlines()
            count = next(line for line in lines if line.startswith("voluntary_ctxt_switches"))
            found[thread.name] = int(count.split()[1])
    return found


def role(process: psutil.Process) -> str:
    """The last of the kit's modules on its command line, with the number of the process."""
    modules = [word for word in process.cmdline() if word.startswith(("bootstrap.", "services."))]
    return f"{modules[-1] if modules else process.name()} ({process.pid})"


def show(found: dict[str, Use], seconds: float) -> None:
    width = max(map(len, found))
    print(f"{'':<{width}}  {'of a core':>9}  {'wakeups/s':>9}")
    busy = sum(used.cpu_seconds for used in found.values())
    whole = Use(busy, sum(used.wakeups for used in found.values()))
    for name, used in [*found.items(), ("all", whole)]:
        print(f"{name:<{width}}  {used.cpu_seconds / seconds:>9.2%}  {used.wakeups / seconds:>9.1f}")


if __name__ == "__main__":
    main()
