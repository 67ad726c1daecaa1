"""The pasted line in bare containers: what a renter's image holds is little, and it must do."""

from __future__ import annotations

import time
from collections.abc import Iterator

import httpx
import pytest

from tests.images import bases, containers
from tests.images.containers import Container
from tests.images.engine import ROOT, Engine

pytestmark = [pytest.mark.docker, pytest.mark.timeout(1500)]
# Packages come from the wheels of the test environment: elsewhere pip would bring torch with CUDA.
OFFLINE = tuple(
    f"--env={tool}_{setting}" for tool in ("PIP", "UV") for setting in ("NO_INDEX=1", "FIND_LINKS=/wheels")
)
CHECKOUT = ("-v", f"{ROOT}:/kit:ro", "-e", "KINOKIT_SOURCE=/kit")


@pytest.fixture(scope="module")
def wheels(docker: Engine) -> tuple[str, ...]:
    """Options that mount the wheels of the test environment."""
    bases.debian(docker)  # while those who build images make the wheels
    folder = bases.wheel_folder()
    assert list(folder.glob("torch-*.whl"))
    return ("-v", f"{folder}:/wheels:ro")


@pytest.fixture(scope="module")
def box(docker: Engine, wheels: tuple[str, ...]) -> Iterator[Container]:
    """A bare Debian without Python in which the script was pasted."""
    container = containers.start(
        docker,
        bases.debian(docker),
        "kinokit-test-start",
        *wheels,
        *OFFLINE,
        *CHECKOUT,
        "-e",
        "KINOKIT_MODEL=demo",
        "-e",
        "KINOKIT_SERVICE=api",
        "-e",
        "PUBLIC_KEY=ssh-ed25519 AAAA a@b",
        command=("sh", "/kit/scripts/start.sh"),
    )
    yield container
    docker.run("rm", "-f", container.name, check=False)


def test_a_page_answers_before_anything_is_fetched(box: Container) -> None:
    seconds = box.wait("/readyz", 503, 60)
    print(f"the page answered {seconds:.1f} s after the container started, in a Debian without Python")
    assert box.engine.run("exec", box.name, "python3", "-V", check=False).returncode
    assert httpx.get(box.url, timeout=60).headers["X-Kinokit-Boot"] == "1"


def test_the_kit_answers_while_torch_is_still_being_installed(box: Container) -> None:
    seconds = box.wait("/status", 401, 120)  # the page before does not ask for a token
    print(f"the kit answered {seconds:.1f} s later")
    assert box.engine.run(
        "exec", box.name, "/opt/kinokit/venv/bin/python", "-c", "import torch", check=False
    ).returncode


def test_then_everything_else_arrives_and_the_model_is_ready(box: Container) -> None:
    seconds = box.wait("/readyz", 200, 400)
    print(f"ready {seconds:.1f} s later")


def test_the_log_is_kept_on_the_persistent_directory_and_shown_by_docker(box: Container) -> None:
    box.wait("/readyz", 200, 400)
    kept = box.exec("sh", "-c", "cat /root/.local/share/kinokit/logs/start.log")
    for line in ("installing python3", "starting the agent"):
        assert line in kept
        assert line in box.logs()


def test_nobody_stays_a_zombie_under_the_containers_first_process(box: Container) -> None:
    """Orphans become its children: the script's small server reaps them."""
    box.wait("/readyz", 200, 400)
    states = "cat /proc/[0-9]*/stat 2> /dev/null | sed 's/.*) //' | cut -d ' ' -f 1,2"  # state and parent
    orphans = "for i in 1 2 3 4 5 6 7 8 9 10; do (sleep 3 > /dev/null 2>&1 &) ; done"
    assert box.exec("sh", "-c", f"{orphans}; sleep 1; {states}").splitlines().count("S 1") >= 10
    until = time.monotonic() + 60
    while (left := box.exec("sh", "-c", states).splitlines()).count("S 1") > 3 or "Z 1" in left:
        assert time.monotonic() < until, left
        time.sleep(0.5)


def test_the_renters_key_opens_port_22(box: Container) -> None:
    ask = "import socket; print(socket.create_connection(('127.0.0.1', 22), 5).recv(8))"
    until = time.monotonic() + 240
    while "SSH-2.0" not in box.engine.run("exec", box.name, "python3", "-c", ask, check=False).stdout:
        assert time.monotonic() < until, box.logs()
        time.sleep(1)
    assert "ssh-ed25519 AAAA" in box.exec("cat", "/root/.ssh/authorized_keys")


def test_a_second_start_installs_nothing_again(box: Container) -> None:
    box.wait("/readyz", 200, 400)
    box.stop()
    before = len(box.logs())
    box.engine.run("start", box.name)
    box.url = containers.published_url(box.engine, box.name)
    port = box.wait("/healthz", 200, 30)
    ready = box.wait("/readyz", 200, 120)
    print(f"second start: port after {port:.1f} s, ready {ready:.1f} s later")
    assert "installing" not in box.logs()[before:]
