"""The front as a process: how it starts, how it stops, what it says in its log."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from bootstrap.launch import listener
from services.front.settings import Settings
from tests.services.front.running import WAN, Front
from tests.support.ports import free_port
from tests.support.waiting import wait_for

HEAVY = ("torch", "gradio", "numpy", "av", "PIL", "diffusers", "transformers", "huggingface_hub", "openai")


class Process:
    """``python -m services.front.app`` on a socket that was bound before, as the agent does it."""

    def __init__(self, data_dir: Path, host: str = "127.0.0.1", **settings: Any) -> None:
        self.listening = listener.listen(host, 0)
        self.port = self.listening.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = data_dir / "front.log"
        self.start(data_dir, **settings)

    def start(self, data_dir: Path, **settings: Any) -> None:
        fd = self.listening.fileno()
        command = [
            sys.executable,
            "-m",
            "services.front.app",
            "--data-dir",
            str(data_dir),
            "--fd",
            str(fd),
            "--settings",
            "-",
        ]
        with self.log.open("a") as log:
            self.child = subprocess.Popen(
                command, pass_fds=[fd], stdin=subprocess.PIPE, stdout=log, stderr=log, text=True
            )
        assert self.child.stdin is not None
        with self.child.stdin as told:
            json.dump(settings, told)

    def stop(self) -> float:
        """Seconds that it took."""
        began = time.monotonic()
        self.child.send_signal(signal.SIGTERM)
        self.child.wait(20)
        return time.monotonic() - began


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    process = Process(tmp_path, "127.0.0.1", auth="on")
    yield process
    process.child.kill()
    process.child.wait()
    process.listening.close()


def test_it_imports_nothing_heavy() -> None:
    code = f"import services.front.app, sys; print([name for name in {HEAVY} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_a_client_that_comes_before_it_waits_and_is_answered(process: Process) -> None:
    # The socket listens already: this was sent before the process can have imported anything.
    assert httpx.get(f"{process.url}/healthz", timeout=20).status_code == 200


def test_a_front_that_is_killed_keeps_its_clients_and_its_jobs(process: Process, tmp_path: Path) -> None:
    httpx.get(f"{process.url}/healthz", timeout=20)
    people = Front(tmp_path, process.port)
    people.plan(WAN)
    made = [people.people.post("/v1/videos", json={"prompt": "a cat"}).json()["id"] for _ in range(2)]
    job = people.worker.claimed()
    process.child.kill()
    process.child.wait()
    codes: list[int] = []
    asking = threading.Thread(
        target=lambda: codes.append(httpx.get(f"{process.url}/healthz", timeout=20).status_code)
    )
    asking.start()
    time.sleep(0.2)
    process.start(tmp_path, auth="on")
    asking.join(20)
    assert codes == [200]
    people = Front(tmp_path, process.port)
    assert people.worker.put(job, b"an MP4").status_code == 204
    assert people.worker.finish(job).status_code == 204
    listed = people.people.get("/v1/videos", params={"order": "asc"}).json()["data"]
    assert [(video["id"], video["status"]) for video in listed] == list(
        zip(made, ("completed", "queued"), strict=True)
    )
    people.close()


def test_it_stops_soon_whoever_is_listening(process: Process, tmp_path: Path) -> None:
    httpx.get(f"{process.url}/healthz", timeout=20)
    people = Front(tmp_path, process.port)
    people.plan(WAN)
    name = people.people.post("/v1/videos", json={"prompt": "a cat"}).json()["id"]
    people.worker.claimed()
    ended: list[str] = []

    def watch() -> None:
        with people.people.stream("GET", f"/v1/videos/{name}/events") as answer:
            list(answer.iter_lines())  # as long as there are any
            ended.append("end")

    def wait() -> None:
        assert people.worker.claim(20, "box-1") is None
        ended.append("claim")

    threads = [threading.Thread(target=watch), threading.Thread(target=wait)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    assert process.stop() < 5
    for thread in threads:
        thread.join(5)
    assert {"end", "claim"} <= set(ended)
    assert process.child.returncode == 0
    people.close()


def test_no_token_reaches_the_log(process: Process, tmp_path: Path) -> None:
    accept = {"Accept": "text/html"}
    with httpx.Client(base_url=process.url, timeout=60) as anybody:
        anybody.get("/healthz")
        token = (tmp_path / "token").read_text().strip()
        anybody.get("/v1/videos", params={"order": "asc", "limit": 3, "token": token}, headers=accept)
        anybody.get(f"/v1/videos?order=asc&limit=4&TOKEN={token}&token={token}")
        anybody.get("/v1/videos?order=asc&limit=5", headers={"Authorization": f"Bearer {token}"})
        anybody.post("/sign-in", data={"token": token}, headers=accept)
    process.stop()
    log = process.log.read_text()
    for seen in ("limit=3", "limit=4", "limit=5", "/sign-in"):
        assert seen in log
    assert token not in log
    assert (tmp_path / "worker-token").read_text().strip() not in log


def test_what_is_asked_every_few_seconds_is_not_in_the_log(process: Process, tmp_path: Path) -> None:
    httpx.get(f"{process.url}/healthz", timeout=20)
    Front(tmp_path, process.port).worker.says("ready")
    httpx.get(f"{process.url}/status", timeout=60)
    process.stop()
    log = process.log.read_text()
    assert "/healthz" not in log
    assert "/internal" not in log
    assert '"GET /status HTTP/1.1" 401' in log


@pytest.mark.parametrize(
    ("host", "flag", "asked"),
    [
        ("0.0.0.0", "auto", True),
        ("127.0.0.1", "auto", False),
        ("127.8.8.8", "auto", False),
        ("::", "auto", True),
        ("::1", "auto", False),
        ("localhost", "auto", False),
        ("127.example.org", "auto", True),  # a name that only looks like an address
        ("127.0.0.1", "on", True),
        ("0.0.0.0", "off", False),
    ],
)
def test_the_token_is_asked_for_whenever_others_reach_the_port(
    tmp_path: Path, host: str, flag: str, asked: bool
) -> None:
    assert Settings.of({"auth": flag}, data_dir=tmp_path, host=host, port=80).auth is asked


def test_what_the_agent_resolved_sets_the_queue(tmp_path: Path) -> None:
    resolved = {"max_queued": 7, "keep_days": 0.5, "database_url": "postgresql://x", "service": "ui"}
    settings = Settings.of(resolved, data_dir=tmp_path, host="0.0.0.0", port=80)
    assert (settings.max_queued, settings.keep_seconds, settings.service) == (7, 43200, "ui")
    assert settings.queue_url == "postgresql://x"
    named = Settings.of({"private_hosts": ["NAS.home "]}, data_dir=tmp_path, host="0.0.0.0", port=80)
    assert named.private_hosts == ("nas.home",)
    default = Settings.of({}, data_dir=tmp_path, host="0.0.0.0", port=80)
    assert default.queue_url == f"sqlite:///{tmp_path / 'jobs.db'}"


def test_it_listens_on_a_port_of_its_own_too(tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-m", "services.front.app", "--data-dir", str(tmp_path), "--port", str(port)]
    (tmp_path / "settings.json").write_text('{"max_queued": 3}')
    command += ["--settings", str(tmp_path / "settings.json")]
    child = subprocess.Popen(command, env=os.environ | {"KINOKIT_MAX_QUEUED": "4"})  # not read here
    try:
        url = f"http://127.0.0.1:{port}/status"
        wait_for(lambda: httpx.get(url, timeout=60).json()["queue"]["max_queued"] == 3)
    finally:
        child.terminate()
        assert child.wait(10) == 0


def test_a_port_that_is_taken_is_told_with_who_holds_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "services.front.app", "--data-dir", str(tmp_path)]
        done = subprocess.run([*command, "--port", str(port)], capture_output=True, text=True)
    assert done.returncode == 1
    assert f"error: port {port} is in use by python" in done.stderr


def test_the_front_answers_before_what_is_heavy_is_imported() -> None:
    """SQLAlchemy, httpx and the storages' libraries are half a second on a rented box."""
    heavy = "{'sqlalchemy', 'httpx', 'fsspec', 's3fs', 'av', 'gradio', 'torch'}"
    asked = f"import sys, services.front.app; print(sorted({heavy} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, timeout=100)
    assert done.stdout.strip() == "[]", done.stderr
