"""An address that a request names leads to the internet, and to nothing beside the box."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator

import httpx
import pytest

from services.front import public_hosts
from services.front.public_hosts import NotPublic, PublicOnly
from tests.support.answering import Asked, serving

INSIDE = [
    "127.0.0.1",
    "0.0.0.0",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.2.1",
    "224.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "fe80::1%eth0",
    "fd00:ec2::254",
    "ff0e::1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
]
SPELLINGS = ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "127.1", "[::1]", "[::ffff:127.0.0.1]", "0"]


@pytest.fixture(scope="module")
def inner() -> Iterator[str]:
    """A server of the box itself; what it answers must never be seen."""
    with serving(lambda asked: asked.reply(200, b"inner")) as url:
        yield url


def fetched(url: str, private_hosts: tuple[str, ...] = (), *, follow: bool = True) -> httpx.Response:
    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(
            transport=PublicOnly(private_hosts), trust_env=False, follow_redirects=follow
        ) as client:
            return await client.get(url)

    return asyncio.run(ask())


@pytest.mark.parametrize("address", INSIDE)
def test_what_is_not_the_internet_is_not_public(address: str) -> None:
    assert not public_hosts.is_public(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8"])
def test_the_internet_is_public(address: str) -> None:
    assert public_hosts.is_public(address)


@pytest.mark.parametrize("spelt", SPELLINGS)
def test_the_box_itself_is_not_reached_however_its_address_is_spelt(inner: str, spelt: str) -> None:
    port = inner.rpartition(":")[2]
    with pytest.raises(NotPublic):
        fetched(f"http://{spelt}:{port}/secret")


def test_a_host_that_the_owner_named_is_reached(inner: str) -> None:
    port = inner.rpartition(":")[2]
    assert fetched(f"http://LocalHost:{port}/", ("localhost",)).text == "inner"
    assert fetched(inner, ("127.0.0.1",)).headers["content-length"] == "5"


def test_a_redirect_into_the_box_is_not_followed(inner: str) -> None:
    def lead(asked: Asked) -> None:
        asked.reply(302, Location=inner)

    with serving(lead) as outer:
        port = outer.rpartition(":")[2]
        with pytest.raises(NotPublic):
            fetched(f"http://localhost:{port}/", ("localhost",))


def test_a_name_is_asked_for_its_address_once(inner: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rebinding: the second answer of the name server would be another machine."""
    asked: list[str] = []
    real = socket.getaddrinfo

    def answer(host: object, *rest: object, **more: object) -> object:
        asked.append(str(host))
        return real("127.0.0.1", *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    port = inner.rpartition(":")[2]
    assert fetched(f"http://studio.example:{port}/", ("studio.example",)).text == "inner"
    assert [name for name in asked if name == "studio.example"] == ["studio.example"]


def test_a_name_without_an_address_says_so() -> None:
    with pytest.raises(NotPublic, match=r"nobody\.invalid has no address"):
        fetched("http://nobody.invalid/")


def test_the_certificate_is_held_against_the_name() -> None:
    """The connection goes to a number, and TLS still asks for the host."""
    seen: list[str] = []
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]

    def greet() -> None:
        connection, _ = listening.accept()
        seen.append(connection.recv(4096).decode("latin-1"))
        connection.close()

    thread = threading.Thread(target=greet, daemon=True)
    thread.start()
    with pytest.raises(httpx.TransportError):
        fetched(f"https://localhost:{port}/", ("localhost",))
    thread.join(60)
    listening.close()
    assert "localhost" in seen[0]


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST.", "10.0.0.1", "[::1]", "x.internal", "printer.local"]
)
def test_some_hosts_are_refused_without_asking_anybody(host: str) -> None:
    assert public_hosts.is_surely_private(host)


def test_others_are_left_to_the_moment_of_the_call() -> None:
    assert not public_hosts.is_surely_private("example.org")
    assert not public_hosts.is_surely_private("8.8.8.8")
    assert not public_hosts.is_surely_private("localhost", ("localhost",))
