"""The pasted line on a bare machine: a page from the first second, the right script or none."""

from __future__ import annotations

import functools
import hashlib
import http.server
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from bootstrap.errors import KitError
from bootstrap.platforms import pasted_line
from tests.support.ports import free_port, refused
from tests.support.waiting import wait_for

SCRIPT = "#!/bin/sh\necho started with $# > started\nexec sleep 600\n"
DIGEST = hashlib.sha256(SCRIPT.encode()).hexdigest()
# What a bare Debian has, without a program that fetches.
PROGRAMS = "sh base64 cat grep gzip mkdir mv perl rm sha256sum sleep touch"


@dataclass
class Box:
    """A box that runs the line in a folder of its own; ``published`` is what the address serves."""

    folder: Path
    published: Path
    url: str
    port: int
    process: subprocess.Popen[bytes] | None = None

    def paste(self, sha256: str | None = DIGEST, **env: str) -> None:
        line = pasted_line.write(f"{self.url}/start.sh", sha256, self.port)
        line = line.replace("/tmp/kinokit", str(self.folder))
        self.process = subprocess.Popen(
            ["/bin/bash", "-c", line],
            env={**os.environ, "KINOKIT_HOST": "127.0.0.1", **env},
            cwd=self.published.parent,
            start_new_session=True,
        )

    def get(self, path: str = "/") -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", timeout=60, trust_env=False)

    def state(self) -> str:
        return str(self.get("/readyz").json()["state"])

    def has_started(self) -> bool:
        return (self.folder / "started").exists()

    def end(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, 9)
            self.process.wait(60)


@contextmanager
def served(folder: Path) -> Iterator[str]:
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    (tmp_path / "published").mkdir()
    with served(tmp_path / "published") as url:
        made = Box(tmp_path / "box", tmp_path / "published", url, free_port())
        yield made
        made.end()


def publish(box: Box, text: str = SCRIPT) -> None:
    (box.published / "part").write_text(text)
    (box.published / "part").rename(box.published / "start.sh")


def path_with(folder: Path, *programs: str) -> str:
    """A PATH with what a bare Debian has, and these."""
    folder.mkdir()
    for name in (*PROGRAMS.split(), *programs):
        (folder / name).symlink_to(str(shutil.which(name)))
    return str(folder)


def test_the_script_is_run_and_finds_the_port_free(box: Box, tmp_path: Path) -> None:
    publish(box)
    box.paste(PATH=path_with(tmp_path / "bin", "curl"))
    wait_for(box.has_started)
    assert (box.folder / "started").read_text() == "started with 0\n"
    wait_for(lambda: refused(box.port))


def test_where_no_script_is_the_page_says_so_until_there_is_one(box: Box) -> None:
    box.paste()
    wait_for(lambda: box.state() == "failed")
    page = box.get().text
    assert "404" in page
    assert f"{box.url}/start.sh" in page
    assert "costs money" in page
    assert box.get("/healthz").status_code == 200
    assert box.get("/ping").status_code == 500
    publish(box)
    wait_for(box.has_started)
    wait_for(lambda: refused(box.port))


@pytest.mark.parametrize("sha256", [DIGEST, None])
def test_what_is_not_the_script_is_not_run(box: Box, sha256: str | None) -> None:
    publish(box, "<html>sign in</html>\necho > started\n")
    box.paste(sha256)
    wait_for(lambda: box.state() == "failed")
    assert not box.has_started()
    if sha256:
        assert "another file" in box.get().text


@pytest.mark.parametrize("sha256", [DIGEST, None])
def test_a_box_that_had_the_script_starts_again_while_its_address_is_away(
    box: Box, sha256: str | None
) -> None:
    box.folder.mkdir()
    (box.folder / "start.sh").write_text(SCRIPT)
    (box.folder / "page.pid").write_text(str(os.getpid()))  # of an earlier start: it may be anybody's now
    box.paste(sha256)
    wait_for(box.has_started)


def test_without_a_program_that_fetches_the_page_says_why(box: Box, tmp_path: Path) -> None:
    publish(box)
    box.paste(PATH=path_with(tmp_path / "bin"))
    wait_for(lambda: box.state() == "failed")
    assert "apt-get: command not found" in box.get().text


def test_a_port_that_the_box_was_given_later_holds(box: Box) -> None:
    moved = free_port()
    box.paste(KINOKIT_PORT=str(moved))
    box.port = moved
    wait_for(lambda: box.state() == "failed")


def test_a_visitor_who_says_nothing_keeps_nobody_away(box: Box) -> None:
    import socket

    box.paste()
    wait_for(lambda: box.get().status_code == 200)
    with socket.create_connection(("127.0.0.1", box.port)):
        assert box.get().status_code == 200


def test_a_script_address_that_needs_quotes_is_refused() -> None:
    with pytest.raises(KitError, match="need quotes"):
        pasted_line.write("https://host/a b?x=1&y=2", None, 8000)


def test_the_longest_line_leaves_room_for_the_shortest_documented_limit() -> None:
    assert pasted_line.LONGEST_BYTES < 4048
    assert len(pasted_line.write("https://example.org/" + "a" * 300, DIGEST, 65535)) < 3400
