"""A photo by its address: fetched from public hosts within limits, and never told more than its host."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from services.front.creation import remote_image
from services.front.creation.remote_image import Address, Allowed
from services.front.settings import Settings
from services.parameters import RequestError
from tests.services.front.running import SVD, running
from tests.support.answering import Asked, serving

HERE = Allowed(("http",), ("127.0.0.1",), max_bytes=1_000_000, total_seconds=20)
SECRET = "s3cr3t"


@pytest.fixture(scope="module")
def host(photo: bytes) -> Iterator[str]:
    seen: list[str] = []

    def answer(asked: Asked) -> None:
        path = asked.path.partition("?")[0]
        seen.append(asked.headers.get("Cookie", "") + asked.headers.get("Authorization", ""))
        if path == "/photo":
            asked.reply(200, photo, Content_Type="image/jpeg", Set_Cookie="a=b")
        elif path.startswith("/on"):
            asked.reply(302, Location=path[4:] or "/photo", Set_Cookie="a=b")
        elif path == "/loop":
            asked.reply(302, Location="/loop")
        elif path == "/page":
            asked.reply(200, b"<html>", Content_Type="text/html")
        elif path == "/large":
            asked.reply(200, b"x" * 1_000_001, Content_Type="image/png")
        elif path == "/endless":
            asked.send_response(200)
            asked.end_headers()
            for _ in range(3000):
                asked.wfile.write(b"x" * 1000)
        elif path == "/packed":
            asked.reply(200, b"x", Content_Encoding="gzip")
        elif path == "/slow":
            time.sleep(3)
        elif path == "/seen":
            asked.reply(200, "".join(seen).encode())
        else:
            asked.reply(404)

    with serving(answer) as url:
        yield url


def fetched(address: str, allowed: Allowed = HERE) -> bytes:
    return asyncio.run(remote_image.fetch(Address(address), allowed))


def refusal(address: str, allowed: Allowed = HERE) -> str:
    with pytest.raises(RequestError) as refused:
        fetched(address, allowed)
    assert refused.value.param == "input_reference"
    assert refused.value.code in ("image_unreachable", "image_too_large")
    assert SECRET not in f"{refused.value.problem} {refused.value.fix}"
    return refused.value.problem


def test_a_photo_is_fetched_with_nothing_but_the_question(host: str, photo: bytes) -> None:
    for path in ("/photo", f"/photo?token={SECRET}", "/on", "/on//on//photo"):
        assert fetched(host + path) == photo
    assert fetched(f"{host}/seen") == b""  # no cookie, no login


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/none", "answered 404"),
        ("/page", "no image"),
        ("/packed", "packed"),
        ("/large", "larger than"),
        ("/endless", "larger than"),
        ("/loop", "more than 3 times"),
        ("/on/http://169.254.169.254/latest/meta-data", "no public host"),
        ("/on/http://localhost:1/", "no public host"),
        ("/on/file:///etc/passwd", "only https"),
        ("/on/http://me:secret@127.0.0.1/", "a name or a password"),
    ],
)
def test_what_is_no_photo_or_lies_elsewhere_is_refused(host: str, path: str, why: str) -> None:
    assert why in refusal(f"{host}{path}?token={SECRET}" if "on/" not in path else host + path)


def test_it_takes_no_longer_than_it_may(host: str) -> None:
    assert "more than 0.2 s" in refusal(f"{host}/slow?{SECRET}", replace(HERE, total_seconds=0.2))


@pytest.mark.parametrize(
    ("address", "from_hosts", "why"),
    [
        ("https://127.0.0.1/a", ("https",), "no public host"),
        ("https://[::ffff:10.0.0.1]/a", ("https",), "no public host"),
        ("https://2130706433/a", ("https",), "no public host"),
        ("http://127.0.0.1/a", ("https",), "only https"),
        ("https://other.example/a", ("photos.example",), "none of the hosts"),
        ("https://photos.example.evil/a", ("photos.example",), "none of the hosts"),
        ("http://photos.example/a", ("photos.example",), "only https"),
        ("https://photos.example/a", ("off",), "remote_images is off"),
        (f"https://user:{SECRET}@photos.example/a", ("https",), "a name or a password"),
        ("https:///a", ("https",), "only https"),
        ("https://a b/", ("https",), ""),
    ],
)
def test_an_address_is_held_against_the_settings(address: str, from_hosts: tuple[str, ...], why: str) -> None:
    assert why in refusal(address, Allowed(from_hosts))


def test_a_request_may_name_a_photo(
    tmp_path: Path, host: str, photo: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    address = f"{host}/photo?token={SECRET}"
    with running(Settings(tmp_path, remote_images=("http",), private_hosts=("127.0.0.1",))) as front:
        front.plan(SVD)
        for value in (address, {"image_url": {"url": address}}, {"url": address}, [address]):
            answer = front.people.post("/v1/videos", json={"input_reference": value})
            assert answer.status_code == 200, answer.text
            name = answer.json()["id"]
            kept = front.people.get(f"/v1/videos/{name}/content", params={"variant": "input"})
            assert kept.content == photo
        answer = front.people.post("/v1/videos", files={"image": (None, f"{host}/page?{SECRET}")})
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["param"]) == (400, "image_unreachable", "image")
    assert SECRET not in caplog.text
