"""What the marks promise, seen in a small run of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import NamedTuple

import pytest

from tests.images.engine import ROOT

PARTS = """
    import json, os, time
    from pathlib import Path
    import pytest

    def note(request, seconds):
        began = time.monotonic()
        time.sleep(seconds)
        worker = os.environ["PYTEST_XDIST_WORKER"]
        Path(request.node.name).write_text(json.dumps([worker, began, time.monotonic()]))
"""
MODULES = {
    "test_module.py": "def test_one(request): note(request, 0.1)\ndef test_two(request): note(request, 0.1)",
    "test_apart.py": """
pytestmark = pytest.mark.apart
@pytest.mark.parametrize("number", range(6))
def test_any(request, number): note(request, 0.4)
""",
    "test_a_server.py": "@pytest.mark.postgres\ndef test_first(request): note(request, 0.1)",
    "test_the_server.py": "@pytest.mark.postgres\ndef test_second(request): note(request, 0.1)",
    "test_container.py": "@pytest.mark.docker\ndef test_container(request): note(request, 0.8)",
    "test_compose.py": "@pytest.mark.docker\ndef test_compose(request): note(request, 0.8)",
    "test_page.py": "@pytest.mark.browser\ndef test_page(request): note(request, 0.4)",
    "test_photo.py": "@pytest.mark.browser\ndef test_photo(request): note(request, 0.4)",
    "test_clock.py": "@pytest.mark.alone\ndef test_time(request): note(request, 0.4)",
}


class Ran(NamedTuple):
    worker: str
    began: float
    ended: float

    def beside(self, other: Ran) -> bool:
        return self.began < other.ended and other.began < self.ended


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ran]:
    """Each test of a run with three workers by its name."""
    folder = tmp_path_factory.mktemp("run")
    marks = "".join(f"\n    {mark}: x" for mark in ("alone", "apart", "browser", "docker", "postgres"))
    (folder / "pytest.ini").write_text(f"[pytest]\nmarkers ={marks}\n")
    for name, tests in MODULES.items():
        (folder / name).write_text(PARTS.replace("\n    ", "\n") + tests + "\n")
    command = [sys.executable, "-m", "pytest", "-p", "tests.support.side_by_side", "-n", "3"]
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "TESTS_"))}
    done = subprocess.run(
        command, cwd=folder, env=ours | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
    return {path.name: Ran(*json.loads(path.read_text())) for path in folder.glob("test_*[!y]")}


def test_a_module_stays_on_one_worker(ran: dict[str, Ran]) -> None:
    assert ran["test_one"].worker == ran["test_two"].worker


def test_all_who_share_a_server_are_on_one_worker(ran: dict[str, Ran]) -> None:
    assert ran["test_first"].worker == ran["test_second"].worker


def test_what_shares_nothing_runs_on_every_worker(ran: dict[str, Ran]) -> None:
    assert len({ran[f"test_any[{number}]"].worker for number in range(6)}) == 3


def test_browsers_are_on_one_worker_and_beside_no_container(ran: dict[str, Ran]) -> None:
    browsers = [ran["test_page"], ran["test_photo"]]
    assert browsers[0].worker == browsers[1].worker
    containers = [ran["test_container"], ran["test_compose"]]
    assert not any(browser.beside(container) for browser in browsers for container in containers)


def test_nothing_runs_beside_a_test_that_is_alone(ran: dict[str, Ran]) -> None:
    alone = ran.pop("test_time")
    assert len(ran) == 14
    assert not any(alone.beside(other) for other in ran.values())
