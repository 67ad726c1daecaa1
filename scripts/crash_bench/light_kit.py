"""A real `kinokit up` whose model is the light engine, and what lies in its data directory afterwards."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil

from bootstrap import data_directory

HERE = Path(__file__).parent
WAIT_SECONDS = 300.0
ROLES = {"front": "services.front.app", "worker": "services.worker.worker", "child": "services.worker.child"}
FAMILY = """\
name: light
title: Light
roles: [[weights]]
settings: {}
recipe: {}
parameters: [prompt, size, width, height, num_frames, seconds, fps, seed, num_inference_steps, fit]
fps: {minimum: 2, maximum: 8}
defaults: {fps: 4, fit: crop}
first_clip_extra_seconds: 0
engine: light_engine
"""
MANIFEST = """\
name: light
title: Light
summary: Frames of one grey.
family: light
inputs: [text, image]
optional_inputs: [image]
licence: {{id: apache-2.0, url: "https://www.apache.org/licenses/LICENSE-2.0"}}
source: {{folder: weights}}
files:
  - {{path: grey.bin, bytes: 4, sha256: {sha256}}}
components: {{weights: grey.bin}}
defaults: {{size: 128x64, num_frames: 6, num_inference_steps: 2}}
limits: {{size_multiple: 16, max_frames: 20}}
profiles:
  - name: cpu
    title: No GPU needed
    needs: {{device: cpu}}
"""


class LightKit:
    """In ``folder``, at ``port``. ``settings`` are flags of `kinokit up`."""

    def __init__(self, folder: Path, port: int, **settings: str) -> None:
        self.folder, self.data_dir, self.port = folder, folder / "data", port
        self._settings = settings
        self._agent: subprocess.Popen[bytes] | None = None
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20, trust_env=False)
        (folder / "families").mkdir()
        (folder / "weights").mkdir()
        (folder / "families/light.yaml").write_text(FAMILY)
        (folder / "weights/grey.bin").write_bytes(b"grey")
        (folder / "light.yaml").write_text(MANIFEST.format(sha256=hashlib.sha256(b"grey").hexdigest()))
        shutil.copy(HERE / "light_engine.py", folder)

    def up(self) -> None:
        command = [sys.executable, "-m", "services.cli", "up", "--model", str(self.folder / "light.yaml")]
        command += ["--service", "api", "--host", "127.0.0.1", "--port", str(self.port), "--auth", "off"]
        command += ["--data-dir", str(self.data_dir)]
        path = os.pathsep.join([str(self.folder), str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")])
        settings = {f"KINOKIT_{name.upper()}": value for name, value in self._settings.items()}
        with (self.folder / "up.log").open("ab") as log:
            self._agent = subprocess.Popen(
                command, stdout=log, stderr=log, env={**os.environ, "PYTHONPATH": path, **settings}
            )

    def hit(self, role: str, number: signal.Signals) -> bool:
        """Send the signal to a role, "agent" or "all"; False when there is no such process now."""
        hit = [process for process in self._processes(role) if _send(process, number)]
        if role in ("agent", "all"):
            assert self._agent is not None
            self._agent.wait()
            self.up()
        return bool(hit)

    def answers(self, path: str = "/healthz") -> bool:
        with suppress(httpx.TransportError):
            return self.http.get(path, timeout=2).status_code == 200
        return False

    def wait(self, path: str) -> float:
        """Seconds until it answers with 200."""
        began = time.monotonic()
        while not self.answers(path):
            is_gone = self._agent is None or self._agent.poll() is not None
            if is_gone or time.monotonic() - began > WAIT_SECONDS:
                raise SystemExit(f"error: {path} did not answer with 200\n  fix: read {self.folder}/up.log")
            time.sleep(0.05)
        return time.monotonic() - began

    def ask(self, key: str, *, photo: bool = False, **fields: Any) -> str:
        """A video; sent again with the same key until it is accepted."""
        files = {"input_reference": ("photo.png", picture())} if photo else None
        data = {"prompt": "a boat", **fields}
        began = time.monotonic()
        while time.monotonic() - began < WAIT_SECONDS:
            with suppress(httpx.TransportError):
                answer = self.http.post(
                    "/v1/videos", data=data, files=files, headers={"Idempotency-Key": key}
                )
                if answer.is_success:
                    return str(answer.json()["id"])
                if answer.status_code < 500 and answer.status_code not in (409, 429):
                    raise SystemExit(f"error: {answer.text}\n  fix: this is a mistake of the bench")
            time.sleep(0.3)
        raise SystemExit("error: a video was not accepted in five minutes\n  fix: read the logs")

    def job(self, video_id: str) -> dict[str, Any]:
        """The video; of one that is not known the error."""
        while True:
            with suppress(httpx.TransportError):
                answer = self.http.get(f"/v1/videos/{video_id}")
                if answer.status_code in (200, 404):
                    found: dict[str, Any] = answer.json()
                    return found
            time.sleep(0.2)

    def ended(self, video_id: str, seconds: float = WAIT_SECONDS) -> dict[str, Any]:
        """The video when it has ended, or as it stands when the time is over."""
        until = time.monotonic() + seconds
        while (job := self.job(video_id)).get("status") in ("queued", "in_progress"):
            if time.monotonic() > until:
                break
            time.sleep(0.1)
        return job

    def videos(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        page: dict[str, Any] = {"has_more": True, "last_id": None}
        while page["has_more"]:
            after = {"after": page["last_id"]} if page["last_id"] else {}
            page = self.http.get("/v1/videos", params={"limit": 100, **after}).raise_for_status().json()
            found += page["data"]
        return found

    def ledger(self) -> list[str]:
        path = self.folder / "ledger"
        return path.read_text().split() if path.exists() else []

    def down(self) -> None:
        if self._agent is not None:
            self._agent.terminate()
            self._agent.wait(30)
        self.http.close()

    def _processes(self, role: str) -> list[psutil.Process]:
        agent = psutil.Process((data_directory.record(self.data_dir) or {"pid": -1})["pid"])
        below = agent.children(recursive=True)
        if role == "agent":
            return [agent]
        if role == "all":
            return [agent, *below]
        return [each for each in below if _runs(each, ROLES[role])]


def _runs(process: psutil.Process, module: str) -> bool:
    with suppress(psutil.Error):
        return module in process.cmdline()
    return False


def _send(process: psutil.Process, number: signal.Signals) -> bool:
    with suppress(psutil.Error):
        process.send_signal(number)
        return True
    return False


def picture() -> bytes:
    from PIL import Image

    data = io.BytesIO()
    Image.linear_gradient("L").convert("RGB").save(data, "PNG")
    return data.getvalue()
