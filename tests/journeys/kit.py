"""A whole kit as a user starts it: the command, its processes, its address."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.support import photos
from tests.support.ports import free_port
from tests.support.waiting import wait_for

READY_SECONDS = 200  # 15 on an idle machine with two cores; CI's are shared
CLIP_SECONDS = 200


class Kit:
    """One data directory and one port."""

    def __init__(self, folder: Path, model: str = "demo") -> None:
        self.data_dir = folder / "data"
        self.model = model
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.agent: subprocess.Popen[str] | None = None
        self.http = httpx.Client(base_url=self.url, timeout=30, trust_env=False)

    # -- the command -------------------------------------------------------------------------------

    def run(self, *arguments: str, seconds: float = 60) -> subprocess.CompletedProcess[str]:
        """A command of the kit in this data directory."""
        command = [sys.executable, "-m", "services.cli", *arguments, "--data-dir", str(self.data_dir)]
        return subprocess.run(command, capture_output=True, text=True, timeout=seconds)

    def up_arguments(self) -> list[str]:
        return ["up", "--model", self.model, "--service", "api", "--port", str(self.port), "--auth", "on"]

    def start(self) -> None:
        """In the foreground, as ``make up`` does."""
        command = [sys.executable, "-m", "services.cli", *self.up_arguments()]
        self.agent = subprocess.Popen(
            [*command, "--data-dir", str(self.data_dir)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def sign_in(self) -> None:
        token = (self.data_dir / "token").read_text().strip()
        self.http.headers["Authorization"] = f"Bearer {token}"

    def status(self) -> tuple[int, dict[str, Any]]:
        done = self.run("status", "--json")
        return done.returncode, json.loads(done.stdout)

    # -- its processes -----------------------------------------------------------------------------

    def process(self, module: str) -> psutil.Process:
        """The one process that runs this module of the kit."""
        _, told = self.status()
        for each in psutil.Process(told["pid"]).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if module in each.cmdline():
                    return each
        raise LookupError(f"no process runs {module}")

    def everybody(self) -> list[psutil.Process]:
        _, told = self.status()
        agent = psutil.Process(told["pid"])
        return [agent, *agent.children(recursive=True)]

    # -- its API -----------------------------------------------------------------------------------

    def ready(self) -> None:
        wait_for(lambda: self.http.get("/readyz").status_code == 200, READY_SECONDS)

    def ask(self, **fields: Any) -> str:
        answer = self.http.post(
            "/v1/videos", data=fields, files={"input_reference": ("photo.png", photos.landscape())}
        )
        assert answer.status_code == 200, answer.text
        return str(answer.json()["id"])

    def job(self, job_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.http.get(f"/v1/videos/{job_id}").json()
        return found

    def ended(self, job_id: str) -> dict[str, Any]:
        wait_for(lambda: self.job(job_id)["status"] in ("completed", "failed"), CLIP_SECONDS)
        return self.job(job_id)

    def runs(self, job_id: str) -> None:
        wait_for(lambda: self.job(job_id)["stage"] == "sample", CLIP_SECONDS)

    def close(self) -> None:
        self.run("down")
        if self.agent is not None:
            with suppress(ProcessLookupError):
                self.agent.kill()
            self.agent.communicate(timeout=20)
        self.http.close()


class Diary:
    """Asks an address again and again, from a thread: what was answered, in order, and how long it took."""

    def __init__(self, url: str, *, pause_seconds: float = 0.08) -> None:
        self.answers: list[tuple[str, int]] = []  # state of /readyz, code of /ping
        self.refused: list[str] = []
        self.slowest_seconds = 0.0
        self.first_at: float | None = None
        self._url = url
        self._pause = pause_seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()

    def close(self) -> Diary:
        self._stop.set()
        self._thread.join(60)
        return self

    @property
    def states(self) -> list[str]:
        """Without repetitions."""
        said = [state for state, _ in self.answers]
        return [state for number, state in enumerate(said) if number == 0 or said[number - 1] != state]

    @property
    def pings(self) -> list[int]:
        said = [code for _, code in self.answers]
        return [code for number, code in enumerate(said) if number == 0 or said[number - 1] != code]

    def _ask(self) -> None:
        with httpx.Client(base_url=self._url, timeout=60, trust_env=False) as http:
            while not self._stop.is_set():
                began = time.monotonic()
                try:
                    state, code = http.get("/readyz").json()["state"], http.get("/ping").status_code
                except httpx.TransportError as error:
                    self.refused.append(repr(error))
                else:
                    self.first_at = self.first_at or time.time()
                    self.answers.append((state, code))
                    self.slowest_seconds = max(self.slowest_seconds, time.monotonic() - began)
                self._stop.wait(self._pause)
