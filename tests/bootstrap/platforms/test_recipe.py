"""CONTRIBUTING's recipe "Add a platform", done: one folder is added, and every list has the marketplace."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.bootstrap.platforms import toy

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the kit where the recipe was followed, and nothing else was touched."""
    root = tmp_path_factory.mktemp("kit")
    shutil.copytree(ROOT / "bootstrap", root / "bootstrap", ignore=shutil.ignore_patterns("__pycache__"))
    for untouched in ("services", "model-manifests", "requirements"):
        (root / untouched).symlink_to(ROOT / untouched)
    folder = root / "bootstrap/platforms/toy_cloud"
    folder.mkdir()
    for name, text in toy.FILES.items():
        (folder / name).write_text(text)
    return root


def python(kit: Path, code: str, *arguments: str, env: Mapping[str, str] | None = None) -> str:
    """What a process of that copy prints, both streams."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=kit,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(kit),
            "PYTHONPATH": str(kit),
            "KINOKIT_SOURCE": "https://example.org/kinokit-1-py3-none-any.whl",  # this copy is no checkout
            "COLUMNS": "200",  # no list is broken into two lines
            **(env or {}),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return done.stdout


def kinokit(kit: Path, *arguments: str, env: Mapping[str, str] | None = None) -> str:
    return python(kit, "from bootstrap.cli import run; run()", *arguments, env=env)


def test_it_is_recognised_and_named(kit: Path) -> None:
    code = "import os; from bootstrap import platforms; print(platforms.detect(os.environ).NAME)"
    assert python(kit, code) == "bare\n"
    assert python(kit, code, env=toy.ENVIRONMENT) == "toy-cloud\n"
    assert python(kit, code, env={"PLATFORM": "toy_cloud"}) == "toy-cloud\n"


def test_its_form_is_printed(kit: Path) -> None:
    text = kinokit(kit, "startup", "--platform", "toy-cloud", "--model", "demo")
    assert "Toy image" in text
    assert "ubuntu:24.04" in text
    call = json.loads(kinokit(kit, "startup", "--platform", "toy-cloud", "--model", "demo", "--json"))
    assert call["body"]["env"]["PLATFORM"] == "toy-cloud"


def test_help_texts_and_errors_list_it(kit: Path) -> None:
    assert "toy-cloud" in kinokit(kit, "startup", "--help")
    assert "Toy Cloud" in kinokit(kit, "rent", "--help")
    assert "toy-cloud" in kinokit(kit, "rent", "offers", "--help")
    assert "toy-cloud" in kinokit(kit, "startup", "--platform", "moon")
    assert "toy-cloud" in kinokit(kit, "rent", "offers", "--platform", "moon")
    assert "toy-cloud" in kinokit(kit, "config", env={"PLATFORM": "moon"})


def test_its_variable_gives_a_setting_its_value(kit: Path) -> None:
    shown = json.loads(kinokit(kit, "config", "--json", env={"TOY_MODEL": "wan22-5b"}))
    assert shown["model"] == {"value": "wan22-5b", "source": "environment TOY_MODEL"}


def test_its_proxy_limits_what_waits(kit: Path) -> None:
    code = """
import os
from starlette.requests import Request
from bootstrap.launch import location
from bootstrap.settings import Settings
from services.front.health.access import Access
access = Access.read({"access": location.of(Settings(), os.environ, in_container=False).access()})
for host in (b"abc.toy.example", b"203.0.113.9:9000"):
    print(access.answer_seconds(Request({"type": "http", "path": "/", "headers": [(b"host", host)]})))
"""
    assert python(kit, code, env=toy.ENVIRONMENT).split() == ["35.0", "600.0"]


@pytest.fixture
def marketplace() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.headers["Authorization"] == "Bearer k" and self.path == "/offers"
            body = json.dumps(toy.OFFERS if known else []).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_its_offers_are_listed(kit: Path, marketplace: str) -> None:
    arguments = ("rent", "offers", "--platform", "toy-cloud", "--model", "wan22")
    assert "TOY_API_KEY is not set" in kinokit(kit, *arguments)
    env = {"TOY_API_KEY": "k", "TOY_API_KEY_ADDRESS": marketplace}
    listed = kinokit(kit, *arguments, env=env)
    assert "toy-1" in listed
    assert "H200" in listed
    assert "2.50" in listed
