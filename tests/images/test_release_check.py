"""``make release-check``: every printed line, from a release, in clean containers of the marketplaces' kind.

RELEASE_FOLDER names a folder that `make release` built; else one is built here.
"""

from __future__ import annotations

import functools
import http.server
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from bootstrap.platforms import registry
from tests.images import bases, layouts
from tests.images.containers import Container
from tests.images.engine import ROOT, Engine
from tests.support.ports import free_port

pytestmark = [pytest.mark.docker, pytest.mark.timeout(1500)]
KEY = "k" * 32
OFFLINE = tuple(
    f"--env={tool}_{setting}" for tool in ("PIP", "UV") for setting in ("NO_INDEX=1", "FIND_LINKS=/wheels")
)
VOLUME = "kinokit-test-release"


@dataclass(frozen=True)
class Case:
    """A form's line in an image, and how the container is run."""

    platform: str
    layout: str
    options: tuple[str, ...] = ()
    moves: bool = False  # the port is changed after the line was printed


CASES = {
    "bare": Case("vast", "debian"),
    "read-only": Case("runpod", "cuda", ("--read-only", "-v", f"{VOLUME}:/workspace")),
    "user": Case("vast", "pytorch", ("--user", "1000:1000", "-e", "HOME=/home/ubuntu")),
    "whole": Case("clore", "ubuntu-22.04", moves=True),
}


class Server:
    """The folder of a release at loopback, until it is closed."""

    def __init__(self, folder: Path) -> None:
        handler = functools.partial(Quiet, directory=str(folder))
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = Path(os.environ.get("RELEASE_FOLDER") or tmp_path_factory.mktemp("release") / "out")
    if not folder.exists():
        command = [sys.executable, str(ROOT / "scripts/release.py"), "--allow-changes", "--out", str(folder)]
        subprocess.run(command, check=True, timeout=300)
    running = Server(folder)
    yield running
    running.close()


def printed(server: Server, platform: str, port: int) -> dict[str, Any]:
    """What `kinokit startup` prints as the call of the platform's API."""
    command = [sys.executable, "-m", "services.cli", "startup", "--platform", platform, "--model", "demo"]
    options = ["--service", "api", "--port", str(port), "--key", KEY, "--json"]
    options += ["--source", f"{server.url}/release.json"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    body: dict[str, Any] = json.loads(done.stdout)["body"]
    return body


def run(docker: Engine, server: Server, name: str, case: Case) -> Container:
    """Run the line as the platform does, in the network of this machine, where the release is served."""
    port = free_port()
    body = printed(server, case.platform, port)
    line = body.get("onstart") or body.get("command") or body["dockerStartCmd"][0]
    env = {name: value for name, value in body["env"].items() if re.fullmatch(r"[A-Z0-9_]+", name)}
    env["KINOKIT_HOST"] = "127.0.0.1"
    if case.moves:
        port = free_port()
        env["KINOKIT_PORT"] = str(port)
    variables = [part for name, value in env.items() for part in ("-e", f"{name}={value}")]
    box = f"kinokit-test-release-{name}"
    docker.run("rm", "-f", box, check=False)
    mounted = ("-v", f"{bases.wheel_folder()}:/wheels:ro")
    options = ("--network=host", *mounted, *OFFLINE, *variables, *case.options)
    docker.run("run", "-d", "--name", box, *options, layouts.build(docker, case.layout), "bash", "-c", line)
    return Container(docker, box, f"http://127.0.0.1:{port}")


@pytest.fixture(scope="module")
def boxes(docker: Engine, server: Server) -> Iterator[dict[str, Container]]:
    """All of them side by side."""
    docker.run("volume", "rm", "-f", VOLUME, check=False)
    running = {name: run(docker, server, name, case) for name, case in CASES.items()}
    yield running
    for box in running.values():
        docker.run("rm", "-f", box.name, check=False)
    docker.run("volume", "rm", "-f", VOLUME, check=False)


def test_every_form_is_tried() -> None:
    assert {case.platform for case in CASES.values()} == set(registry.named("form"))


@pytest.mark.parametrize("name", CASES)
def test_a_page_answers_before_the_kit_is_there(boxes: dict[str, Container], name: str) -> None:
    print(f"{name}: page {boxes[name].wait('/', 200, 120):.1f} s after all containers were started")


@pytest.mark.parametrize("name", CASES)
def test_the_kit_answers_and_names_the_platform(boxes: dict[str, Container], name: str) -> None:
    box = boxes[name]
    print(f"{name}: kit {box.wait('/status', 200, 400):.1f} s later")
    answer = httpx.get(f"{box.url}/status", headers={"Authorization": f"Bearer {KEY}"}, timeout=60)
    assert answer.json()["boot"]["platform"] == CASES[name].platform
    if name != "whole":  # it has shown what it is here for: the cores are the other's
        box.engine.run("kill", box.name)


def test_the_model_gets_ready(boxes: dict[str, Container]) -> None:
    boxes["whole"].wait("/readyz", 200, 400)


def test_a_restart_needs_neither_the_release_nor_its_server(
    boxes: dict[str, Container], server: Server
) -> None:
    box = boxes["whole"]
    box.wait("/readyz", 200, 400)
    box.stop()
    server.close()
    before = len(box.logs())
    box.engine.run("start", box.name)
    box.wait("/readyz", 200, 400)
    assert "installing" not in box.logs()[before:]
