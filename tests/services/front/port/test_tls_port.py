"""TLS on the one port: to the world with the certificate, to this machine as before, to plain HTTP a word."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from bootstrap.launch import listener, tls
from services.front.port import tls_port
from tests.services.front.running import WAN, Front
from tests.support.waiting import wait_for


@dataclass
class Box:
    """A front in a process of its own that listens everywhere."""

    port: int
    data_dir: Path
    certificate: Path
    token: str

    def secure(self, host: str = "127.0.0.1") -> httpx.Client:
        trusts = ssl.create_default_context(cafile=str(self.certificate))
        bearer = {"Authorization": f"Bearer {self.token}"}
        url = f"https://{host}:{self.port}"
        return httpx.Client(base_url=url, headers=bearer, verify=trusts, timeout=60)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), 60)


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    data_dir = tmp_path_factory.mktemp("tls")
    made = tls.self_signed(data_dir / "tls", ["127.0.0.1", "localhost"])
    listening = listener.listen("0.0.0.0", 0)
    fd, port = listening.fileno(), listening.getsockname()[1]
    for name in ("token", "worker-token"):
        (data_dir / name).write_text("a-token\n")
    command = [sys.executable, "-m", "services.front.app", "--data-dir", str(data_dir), "--fd", str(fd)]
    with subprocess.Popen([*command, "--settings", "-"], pass_fds=[fd], stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(json.dumps({"auth": "on", **made.settings()}).encode())
        process.stdin.close()
        found = Box(port, data_dir, made.certificate, "a-token")
        wait_for(lambda: found.secure().get("/healthz").status_code == 200)
        try:
            yield found
        finally:
            process.terminate()
            process.wait(60)
            listening.close()


def test_a_client_that_trusts_the_certificate_is_served(box: Box) -> None:
    with box.secure() as people:
        assert people.get("/v1/videos").json()["data"] == []
        assert people.get("/v1/videos").status_code == 200, "the same connection, again"


def test_a_client_that_does_not_is_let_alone(box: Box) -> None:
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(f"https://127.0.0.1:{box.port}/healthz")
    assert box.secure().get("/healthz").status_code == 200


def test_this_machine_itself_needs_no_tls(box: Box) -> None:
    """The agent, the workers, `kinokit generate` and a container's health check."""
    front = Front(box.data_dir, box.port)
    front.plan(WAN)
    assert front.people.post("/v1/videos", json={"prompt": "a cat"}).status_code == 200
    assert front.worker.claimed()
    front.close()


def test_a_cookie_of_this_port_is_for_tls_alone(box: Box) -> None:
    answer = box.secure().post("/sign-in", data={"token": box.token}, headers={"Accept": "text/html"})
    assert answer.status_code == 303
    assert "secure" in answer.headers["set-cookie"].lower()


def test_a_clip_of_many_bytes_comes_whole(box: Box) -> None:
    data = box.secure().get("/openapi.json").content
    assert json.loads(data)["openapi"]


@pytest.mark.parametrize(
    ("head", "status", "place"),
    [
        (b"GET /studio?x=1 HTTP/1.1\r\nHost: 1.2.3.4:40123\r\n\r\n", 308, "https://1.2.3.4:40123/studio?x=1"),
        (b"HEAD / HTTP/1.1\r\nhost:box.example.org\r\n\r\n", 308, "https://box.example.org/"),
        (b"GET / HTTP/1.1\r\nHost: [::1]:8000\r\nX: y\r\n\r\n", 308, "https://[::1]:8000/"),
        (b"POST /v1/videos HTTP/1.1\r\nHost: 1.2.3.4\r\n\r\n", 400, None),
        (b"GET / HTTP/1.1\r\n\r\n", 400, None),
        (b"GET / HTTP/1.1\r\nHost: a/b@c\r\n\r\n", 400, None),
        (b"\0\1\2\r\n\r\n", 400, None),
    ],
)
def test_plain_http_from_elsewhere_is_sent_to_https_or_told(
    head: bytes, status: int, place: str | None
) -> None:
    lines, _, body = tls_port.answer(head).partition(b"\r\n\r\n")
    assert lines.startswith(b"HTTP/1.1 %d " % status)
    if place is None:
        assert json.loads(body)["error"]["code"] == "tls_required"
    else:
        assert f"\r\nLocation: {place}\r\n".encode() in lines


def test_only_this_machine_is_served_without_it(box: Box) -> None:
    """A connection from one of its addresses to another looks like one from elsewhere."""
    others = [
        each.address
        for name, addresses in psutil.net_if_addrs().items()
        for each in addresses
        if each.family == socket.AF_INET and not each.address.startswith("127.") and name
    ]
    if not others:  # a machine without a network: from this machine only
        others = ["127.0.0.1"]
    with socket.create_connection((others[0], box.port), 60, source_address=(others[0], 0)) as own:
        own.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert own.recv(100).startswith(b"HTTP/1.1 200"), "from the same address"


def test_who_says_nothing_or_nonsense_keeps_nobody_out(box: Box) -> None:
    silent = [box.connect() for _ in range(50)]
    with box.connect() as wrong:
        wrong.sendall(b"\x16\x03\x01 this is no hello of TLS")
        assert wrong.recv(100)[:1] in (b"", b"\x15"), "an alert, or the end"
    assert box.secure().get("/healthz").status_code == 200
    for each in silent:
        each.close()
