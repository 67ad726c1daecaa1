"""A port under pressure: whoever says nothing is let go, and whoever asks is served beside all of those."""

from __future__ import annotations

import json
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from bootstrap.launch import listener
from services.front.port import connections
from services.front.settings import Settings
from tests.services.front.running import Front, running
from tests.support.waiting import wait_for

REQUEST = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"


def is_closed(each: socket.socket) -> bool:
    each.setblocking(False)
    try:
        return each.recv(1000) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


@pytest.fixture
def impatient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Front]:
    """A front that waits a second for a request."""
    monkeypatch.setattr(connections, "HEAD_SECONDS", 1.0)
    with running(Settings(tmp_path)) as found:
        yield found


def connect(front: Front) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(front.url.rpartition(":")[2])), 60)


def test_a_connection_that_says_nothing_is_closed(impatient: Front) -> None:
    with connect(impatient) as silent:
        wait_for(lambda: is_closed(silent))


def test_a_head_that_never_ends_is_closed_however_often_a_line_comes(impatient: Front) -> None:
    with connect(impatient) as slow:
        slow.sendall(REQUEST)

        def drips() -> bool:
            try:
                slow.setblocking(True)
                slow.sendall(b"X-More: 1\r\n")
            except OSError:
                return True
            return is_closed(slow)

        wait_for(drips)


def test_the_second_head_of_a_connection_has_no_longer_than_the_first(impatient: Front) -> None:
    with connect(impatient) as slow:
        slow.sendall(REQUEST + b"\r\n")
        assert b"200 OK" in slow.recv(1000)
        slow.sendall(REQUEST)
        wait_for(lambda: is_closed(slow))


def test_a_request_that_is_under_way_is_never_cut(impatient: Front) -> None:
    """A body may take as long as it takes, here three times as long as a head may."""
    with connect(impatient) as busy:
        head = f"POST /v1/videos HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {impatient.token}\r\n"
        busy.sendall(head.encode() + b"Content-Type: application/json\r\nContent-Length: 20\r\n\r\n")
        with connect(impatient) as silent:
            wait_for(lambda: is_closed(silent))
        with connect(impatient) as silent:
            wait_for(lambda: is_closed(silent))
        with connect(impatient) as silent:
            wait_for(lambda: is_closed(silent))
        assert not is_closed(busy)


SMALL = 256  # files that the process may open
LIMITED = (
    f"import resource, runpy; resource.setrlimit(resource.RLIMIT_NOFILE, (128, {SMALL}));"
    "runpy.run_module('services.front.app', run_name='__main__', alter_sys=True)"
)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[str]:
    """The address of a front in a process that may open few files."""
    listening = listener.listen("127.0.0.1", 0)
    fd = listening.fileno()
    command = [sys.executable, "-c", LIMITED, "--data-dir", str(tmp_path), "--fd", str(fd)]
    with subprocess.Popen([*command, "--settings", "-"], pass_fds=[fd], stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(json.dumps({"auth": "off"}).encode())
        process.stdin.close()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            process.terminate()
            process.wait(60)
            listening.close()


def test_visitors_are_served_beside_more_silent_ones_than_there_are_files(small: str) -> None:
    wait_for(lambda: httpx.get(f"{small}/v1/videos", timeout=60).status_code == 200)
    host, port = small.removeprefix("http://").split(":")
    with ExitStack() as crowd:
        first = crowd.enter_context(socket.create_connection((host, int(port)), 60))
        for number in range(2 * SMALL):
            each = crowd.enter_context(socket.create_connection((host, int(port)), 60))
            if number % 2:
                each.sendall(REQUEST)
        began = time.monotonic()
        for path in ("/healthz", "/v1/videos", "/openapi.json"):
            assert httpx.get(f"{small}{path}", timeout=60).status_code == 200
        assert time.monotonic() - began < connections.HEAD_SECONDS, "they were served before the others left"
        wait_for(lambda: is_closed(first))


def test_the_front_takes_as_many_files_as_it_may() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, hard), hard))
        most = connections.raise_file_limit()
        raised = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        assert raised == min(hard, connections.MOST_FILES)
        assert most == raised - min(connections.OWN_FILES, raised // 2)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
