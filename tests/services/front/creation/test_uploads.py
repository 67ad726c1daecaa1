"""What comes in costs nobody else anything: memory stays bounded, and small requests are answered."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from urllib.parse import urlsplit

import psutil
import pytest

from services.front.creation.uploads import Uploads
from services.front.errors import ApiError
from tests.services.front.front_process import MIB, rss_mib, started
from tests.services.front.running import WAN, Front

LARGE = 30 * MIB
BOMBS = {
    "keys": b"{" + b",".join(b'"%d":1' % number for number in range(2_500_000)) + b"}",
    "objects": b'{"prompt":[' + b"{}," * (LARGE // 3) + b"{}]}",
    "escapes": b'{"prompt":"' + b'\\"' * (LARGE // 2) + b'"}',
    "strings": b'{"prompt":[' + b",".join([b'"' + b"x" * 70_000 + b'"'] * 300) + b"]}",
    "depth": b"[" * 1_000_000,
}
FORM = {"content-type": "multipart/form-data; boundary=b"}
URLENCODED = {"content-type": "application/x-www-form-urlencoded"}


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Front, psutil.Process]]:
    with started(tmp_path_factory.mktemp("real"), WAN) as found:
        yield found


@pytest.mark.parametrize("kind", list(BOMBS))
def test_json_never_becomes_more_objects_than_a_request_needs(
    real: tuple[Front, psutil.Process], kind: str
) -> None:
    front, process = real
    answer = front.people.post(
        "/v1/videos", content=BOMBS[kind], headers={"content-type": "application/json"}
    )
    code = "invalid_json" if kind == "depth" else "body_too_large"
    assert answer.json()["error"]["code"] == code, answer.text
    assert rss_mib(process) < 400


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"prompt=" + b"%41" * (LARGE // 3), URLENCODED),
        (b"&".join([b"a=b"] * 1000), URLENCODED),
        (b'--b\r\nContent-Disposition: form-data; name="prompt"\r\n\r\n' + b"x" * LARGE + b"\r\n--b--", FORM),
        (b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n' * 1000 + b"--b--", FORM),
        (b"--b\r\nX: " + b"x" * LARGE + b"\r\n\r\n\r\n--b--", FORM),
    ],
    ids=["urlencoded", "many fields", "text part", "many parts", "head of a part"],
)
def test_forms_hold_little_text(
    real: tuple[Front, psutil.Process], body: bytes, headers: dict[str, str]
) -> None:
    front, process = real
    answer = front.people.post("/v1/videos", content=body, headers=headers)
    assert answer.json()["error"]["code"] in ("body_too_large", "invalid_form"), answer.text
    assert rss_mib(process) < 400


def test_many_large_bodies_lie_in_memory_a_few_at_a_time(real: tuple[Front, psutil.Process]) -> None:
    """40 bodies of 33 MB that never end; small requests are taken meanwhile."""
    front, process = real
    with ExitStack() as open_ones:
        clients = [open_ones.enter_context(socket.create_connection(_place(front))) for _ in range(40)]
        for client in clients:
            client.sendall(_head(front, 33 * 10**6))
            client.setblocking(False)
        left = dict.fromkeys(clients, 30 * MIB)
        stuck = 0
        while stuck < 20:  # rounds in which nobody took anything
            took = sum(_send(client, left) for client in clients)
            stuck = 0 if took else stuck + 1
            answer = front.people.post("/v1/videos", json={"prompt": "a cat"}) if not took else None
            assert answer is None or answer.status_code in (200, 429), answer.text
        assert sum(size == 0 for size in left.values()) == 8  # as many as may
        assert rss_mib(process) < 700


def _place(front: Front) -> tuple[str, int]:
    parts = urlsplit(front.url)
    return str(parts.hostname), int(parts.port or 0)


def _head(front: Front, length: int) -> bytes:
    lines = (
        "POST /v1/videos HTTP/1.1",
        f"Host: {urlsplit(front.url).netloc}",
        f"Authorization: Bearer {front.token}",
    )
    return ("\r\n".join([*lines, f"Content-Length: {length}", "Content-Type: application/json"])).encode() + (
        b'\r\n\r\n{"image": "'
    )


def _send(client: socket.socket, left: dict[socket.socket, int]) -> int:
    sent = 0
    with suppress(BlockingIOError):
        sent = client.send(b"A" * min(left[client], MIB)) if left[client] else 0
    left[client] -= sent
    return sent


def test_who_finds_no_room_for_a_while_is_told_when_to_come_back() -> None:
    async def ask() -> None:
        uploads = Uploads(most=1, wait_seconds=0.05)
        await uploads.enter()
        with pytest.raises(ApiError) as refused:
            await uploads.enter()
        assert (refused.value.status, refused.value.code) == (503, "too_many_uploads")
        assert int((refused.value.headers or {})["Retry-After"]) > 0

    asyncio.run(ask())
