"""A front in a process of its own, whose memory can be measured."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.services.front.running import Front
from tests.support.ports import free_port
from tests.support.waiting import wait_for

MIB = 1024**2


@contextmanager
def started(data_dir: Path, model: dict[str, Any]) -> Iterator[tuple[Front, psutil.Process]]:
    port = free_port()
    command = [sys.executable, "-m", "services.front.app", "--data-dir", str(data_dir), "--port", str(port)]
    (data_dir / "settings.json").write_text('{"auth": "on", "max_queued": 1000}')
    process = subprocess.Popen([*command, "--settings", str(data_dir / "settings.json")])
    try:
        wait_for(lambda: httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 200)
        front = Front(data_dir, port)
        front.people.timeout = httpx.Timeout(120)
        front.plan(model)
        yield front, psutil.Process(process.pid)
        front.close()
    finally:
        process.kill()
        process.wait(60)


def rss_mib(process: psutil.Process) -> float:
    return float(process.memory_info().rss) / MIB
