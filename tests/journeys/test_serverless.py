"""RunPod's queue: the real SDK takes a job, the kit makes the clip, the answer holds it."""

from __future__ import annotations

import base64
import io
import json
import queue
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import av
import pytest

from tests.images.engine import CACHE, ROOT
from tests.journeys.kit import Kit
from tests.support import photos

SECONDS = 300


class RunPod:
    """RunPod's side: hands out jobs, takes progress and results."""

    def __init__(self) -> None:
        self.waiting: queue.Queue[dict[str, Any]] = queue.Queue()
        self.told: dict[str, list[dict[str, Any]]] = {}
        self.uploads: dict[str, bytes] = {}
        self.url = ""

    def result(self, id: str) -> dict[str, Any]:
        """The last word on a job; what came before is its progress."""
        for _ in range(SECONDS * 10):
            for each in self.told.get(id, []):
                if each.get("status") != "IN_PROGRESS":
                    return each
            time.sleep(0.1)
        raise AssertionError(f"no result of {id}: {self.told}")


@pytest.fixture(scope="module")
def runpod() -> Iterator[RunPod]:
    platform = RunPod()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def reply(self, status: int, body: Any = None) -> None:
            raw = json.dumps(body).encode() if body is not None else b""
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(raw)))
            with suppress(BrokenPipeError):  # the SDK has ended meanwhile
                self.end_headers()
                self.wfile.write(raw)

        def do_GET(self) -> None:
            if "/job-take/" not in self.path:
                return self.reply(204 if "/job-stop/" in self.path else 200, None)
            try:
                return self.reply(200, platform.waiting.get(timeout=1))
            except queue.Empty:
                return self.reply(204)

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            id = self.path.partition("/job-done/")[2].partition("?")[0]
            platform.told.setdefault(id, []).append(body)
            return self.reply(200, {})

        def do_PUT(self) -> None:
            platform.uploads[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
            return self.reply(200)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        platform.url = f"http://127.0.0.1:{server.server_port}"
        yield platform
        server.shutdown()


@pytest.fixture(scope="module")
def sdk_python() -> Path:
    """A Python with RunPod's SDK, as images/serverless has it."""
    folder = CACHE / "runpod-sdk"
    python = folder / "bin/python"
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        requirements = ROOT / "requirements/serverless.txt"
        install = [
            str(python),
            "-m",
            "pip",
            "install",
            "-q",
            "--no-deps",
            "--require-hashes",
            "-r",
            str(requirements),
        ]
        subprocess.run(install, check=True)
        (folder / "complete").touch()
    return python


@pytest.fixture(scope="module")
def worker(runpod: RunPod, sdk_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kit]:
    """A whole kit that finds itself on a queue endpoint."""
    env = {
        "RUNPOD_WEBHOOK_GET_JOB": f"{runpod.url}/job-take/$ID?gpu=none",
        "RUNPOD_WEBHOOK_POST_OUTPUT": f"{runpod.url}/job-done/$ID?gpu=none",
        "RUNPOD_WEBHOOK_PING": f"{runpod.url}/ping/$RUNPOD_POD_ID",
        "RUNPOD_AI_API_KEY": "not-a-key",
        "RUNPOD_POD_ID": "pod1",
        "KINOKIT_RUNPOD_PYTHON": str(sdk_python),
    }
    kit = Kit(tmp_path_factory.mktemp("serverless"))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in env.items():
            patch.setenv(name, value)
        kit.start()
    yield kit
    kit.close()


def ask(runpod: RunPod, id: str, **given: Any) -> dict[str, Any]:
    runpod.waiting.put({"id": id, "input": given})
    return runpod.result(id)


def image() -> str:
    return "data:image/png;base64," + base64.b64encode(photos.landscape()).decode()


@pytest.mark.usefixtures("worker")
def test_a_job_comes_back_as_a_clip(runpod: RunPod) -> None:
    answer = ask(runpod, "job-1", image=image(), seed=7, num_inference_steps=2)
    assert "error" not in answer, answer
    with av.open(io.BytesIO(base64.b64decode(answer["output"]["video"])), "r") as clip:
        frames = sum(1 for _ in clip.decode(video=0))
    assert frames == answer["output"]["num_frames"]
    assert answer["output"]["seed"] == 7


@pytest.mark.usefixtures("worker")
def test_a_large_clip_goes_to_the_address_that_the_job_gives(runpod: RunPod) -> None:
    target = f"{runpod.url}/bucket/clip.mp4"
    answer = ask(runpod, "job-2", image=image(), num_inference_steps=1, upload_url=target)
    assert answer["output"]["uploaded"] is True
    assert len(runpod.uploads["/bucket/clip.mp4"]) == answer["output"]["bytes"]
    assert b"ftyp" in runpod.uploads["/bucket/clip.mp4"][:16]


@pytest.mark.usefixtures("worker")
def test_a_bad_request_fails_with_what_is_wrong_and_the_next_job_runs(runpod: RunPod) -> None:
    answer = ask(runpod, "job-3", image=image(), num_frames=13)
    assert "num_frames" in json.dumps(answer["error"]) or "frames" in json.dumps(answer["error"])
    assert "output" in ask(runpod, "job-4", image=image(), num_inference_steps=1)
