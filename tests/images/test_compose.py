"""`make up` in Docker: compose.yaml with the real engine, and the choice between Docker and native."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator

import pytest

from tests.images.containers import Container
from tests.images.engine import ROOT, Engine

pytestmark = [pytest.mark.docker, pytest.mark.timeout(1500)]
PORT = "18777"


def up(docker: Engine, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "DOCKER": docker.docker, "COMPOSE_PROJECT_NAME": "kinokittest", **settings}
    if docker.host:
        environment["DOCKER_HOST"] = docker.host
    return subprocess.run(
        ["scripts/up.sh"], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300
    )


@pytest.fixture(scope="module")
def composed(docker: Engine, images: dict[str, str]) -> Iterator[tuple[Container, str]]:
    """The composed service with the demo model, and what `make up` printed."""
    answer = up(
        docker,
        RUNTIME="docker",
        DETACH="1",
        MODEL="demo",
        SERVICE="ui",
        PORT=PORT,
        HOST="127.0.0.1",
        KINOKIT_MAX_QUEUED="7",
        KINOKIT_IMAGE=images["ui"],
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    name = docker.run("ps", "-q", "--filter", "label=com.docker.compose.project=kinokittest").stdout.strip()
    yield Container(docker, name, f"http://127.0.0.1:{PORT}"), answer.stdout
    docker.run("rm", "-f", name, check=False)
    docker.run("volume", "rm", "-f", "kinokittest_kinokit-data", check=False)
    docker.run("network", "rm", "kinokittest_default", check=False)


def test_it_says_how_it_runs_and_prints_a_link_with_the_token(composed: tuple[Container, str]) -> None:
    container, printed = composed
    assert "running in Docker" in printed
    found = re.search(r"\?token=(\S+)", printed)
    assert found is not None
    assert found[1] == container.token()


def test_the_composed_service_gets_ready(composed: tuple[Container, str]) -> None:
    container, _ = composed
    container.wait("/readyz", 200, 180)


def test_it_listens_where_host_says_and_has_the_shells_settings(composed: tuple[Container, str]) -> None:
    container, _ = composed
    facts = json.loads(container.engine.run("inspect", container.name).stdout)[0]
    assert facts["HostConfig"]["PortBindings"] == {"8000/tcp": [{"HostIp": "127.0.0.1", "HostPort": PORT}]}
    names = {variable.partition("=")[0] for variable in facts["Config"]["Env"] if "=" in variable}
    assert "KINOKIT_MAX_QUEUED=7" in facts["Config"]["Env"]
    assert "KINOKIT_KEEP_DAYS" not in names


def test_make_status_shows_the_containers_health(composed: tuple[Container, str], docker: Engine) -> None:
    container, _ = composed
    container.wait("/readyz", 200, 180)
    environment = {**os.environ, "DOCKER": docker.docker, "COMPOSE_PROJECT_NAME": "kinokittest"}
    environment |= {"DOCKER_HOST": docker.host} if docker.host else {}
    command = ["scripts/composed.sh", "status"]
    answer = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "running" in answer.stdout
    assert "ready" in answer.stdout


def test_it_restarts_by_itself_rotates_its_logs_and_keeps_a_volume(composed: tuple[Container, str]) -> None:
    container, _ = composed
    facts = json.loads(container.engine.run("inspect", container.name).stdout)[0]
    host = facts["HostConfig"]
    assert host["RestartPolicy"]["Name"] == "unless-stopped"
    assert host["LogConfig"]["Config"] == {"max-size": "10m", "max-file": "3"}
    assert host["ReadonlyRootfs"] is True
    assert [mount["Destination"] for mount in facts["Mounts"] if mount["Type"] == "volume"] == ["/data"]


def test_docker_is_refused_with_the_reason_where_there_is_none() -> None:
    answer = up(Engine(docker="no-such-docker"), RUNTIME="docker", MODEL="demo")
    assert answer.returncode == 1
    assert "no docker command is here" in answer.stderr
    assert "fix:" in answer.stderr
