"""A real front and real workers, whose GPU children run the testcard engine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil

from bootstrap.choose.manifest import Limits
from bootstrap.choose.plan import Plan
from bootstrap.launch import listener
from tests.support import photos
from tests.support.waiting import wait_for

ENGINE = "tests.services.worker.testcard"


def plan(data_dir: Path, **settings: Any) -> Plan:
    return Plan(
        kit_version="0.1.0",
        model="testcard",
        title="Testcard",
        family="svd",  # type: ignore[arg-type]  # its name is enough
        inputs=("image",),
        device="cpu",
        profile="cpu",
        settings=settings,
        components={},
        config=None,
        defaults={
            "size": "128x64", "num_frames": 14, "fps": 7, "num_inference_steps": 2, "motion_bucket_id": 60,
            "noise_aug_strength": 0.02, "min_guidance_scale": 1.0, "max_guidance_scale": 1.0, "fit": "crop",
        },
        recipe={},
        limits=Limits(size_multiple=16, frames=(14, 25)),
        threads=1,
        data_dir=data_dir,
    )  # fmt: skip


class Crew:
    """``data_dir`` is the front's; workers get a folder each, as on another box."""

    worker: subprocess.Popen[bytes]  # where tests share one

    def __init__(
        self, folder: Path, made: Plan | None = None, engine: str | None = ENGINE, **settings: Any
    ) -> None:
        """``made`` is run by ``engine`` (None: its own) instead of the testcard's plan.

        ``settings`` are the front's.
        """
        self._settings = folder / "settings.json"
        self._settings.write_text(json.dumps({"auth": "off", **settings}))
        self._made = made
        self._engine = engine
        self.data_dir = folder / "front"
        self.data_dir.mkdir()
        self.folder = folder
        self.processes: list[subprocess.Popen[bytes]] = []
        self._plan(self.data_dir).write(self.data_dir / "plan.json")
        self.listening = listener.listen("127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self.listening.getsockname()[1]}"
        # The front closes a connection that says nothing: one that waited is not used again.
        fresh = httpx.Limits(keepalive_expiry=2)
        self.http = httpx.Client(base_url=self.url, timeout=20, trust_env=False, limits=fresh)
        self.start_front()

    def start_front(self) -> subprocess.Popen[bytes]:
        fd = self.listening.fileno()
        arguments = ["--data-dir", str(self.data_dir), "--fd", str(fd), "--settings", str(self._settings)]
        return self._start("services.front.app", arguments, self.folder / "front.log", pass_fds=[fd])

    def start_worker(
        self, name: str = "worker-0", *, arrivals: Path | None = None, **settings: Any
    ) -> subprocess.Popen[bytes]:
        own = self.folder / name
        own.mkdir(exist_ok=True)
        planned = self._plan(own, **settings).model_copy(update={"arrivals": arrivals})
        planned.write(own / "plan.json")
        wait_for(lambda: (self.data_dir / "worker-token").exists())
        arguments = ["--plan", str(own / "plan.json"), "--name", name]
        arguments += ["--engine", self._engine] if self._engine else []
        arguments += ["--queue", self.url, "--token-file", str(self.data_dir / "worker-token")]
        return self._start("services.worker.worker", arguments, self.folder / f"{name}.log")

    def _plan(self, data_dir: Path, **settings: Any) -> Plan:
        if self._made is None:
            return plan(data_dir, **settings)
        return self._made.model_copy(update={"data_dir": data_dir})

    def log(self, name: str = "worker-0") -> str:
        return (self.folder / f"{name}.log").read_text()

    def state(self, name: str = "worker-0") -> dict[str, Any]:
        found = self.http.get("/status").json()["workers"]
        return next((worker for worker in found if worker["worker"] == name), {"state": None})

    def ask(self, motion_bucket_id: int = 60, **fields: Any) -> str:
        answer = self.http.post(
            "/v1/videos",
            data={"motion_bucket_id": motion_bucket_id, "seed": 3, **fields},
            files={"input_reference": ("photo.png", photos.landscape())},
        )
        assert answer.status_code == 200, answer.text
        return str(answer.json()["id"])

    def job(self, job_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.http.get(f"/v1/videos/{job_id}").json()
        return found

    def ended(self, job_id: str, seconds: float = 60) -> dict[str, Any]:
        wait_for(lambda: self.job(job_id)["status"] in ("completed", "failed"), seconds)
        return self.job(job_id)

    def runs(self, job_id: str) -> None:
        """Wait until the child works on it."""
        wait_for(lambda: self.job(job_id)["stage"] is not None)

    def child(self, worker: subprocess.Popen[bytes]) -> psutil.Process:
        return next(
            each
            for each in psutil.Process(worker.pid).children()
            if "services.worker.child" in each.cmdline()
        )

    def close(self) -> None:
        self.http.close()
        for process in self.processes:
            with suppress(ProcessLookupError):
                process.kill()
            process.wait(10)
        self.listening.close()

    def _start(self, module: str, arguments: list[str], log: Path, **options: Any) -> subprocess.Popen[bytes]:
        with log.open("ab") as output:
            command = [sys.executable, "-m", module, *arguments]
            process = subprocess.Popen(command, stdout=output, stderr=output, **options)
        self.processes.append(process)
        return process


@contextmanager
def crew(
    folder: Path, made: Plan | None = None, engine: str | None = ENGINE, **settings: Any
) -> Iterator[Crew]:
    started = Crew(folder, made, engine, **settings)
    try:
        yield started
    finally:
        started.close()


def end(process: subprocess.Popen[bytes], number: int = signal.SIGTERM) -> float:
    """Seconds until it had ended."""
    began = time.monotonic()
    os.kill(process.pid, number)
    process.wait(20)
    return time.monotonic() - began
