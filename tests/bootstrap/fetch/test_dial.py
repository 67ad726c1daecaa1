"""Hosts with several addresses, of which some never answer."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from bootstrap.errors import KitError
from bootstrap.fetch.http import dial
from bootstrap.fetch.http.dial import Address
from tests.bootstrap.fetch.conftest import Model
from tests.hub import server as hub_server

V4, V6 = socket.AF_INET, socket.AF_INET6
HOLE = "127.0.0.9"  # an address whose queue of connections is full: it answers nothing


def addresses(*families: int) -> list[Address]:
    return [Address(family, ("host", number)) for number, family in enumerate(families)]


def order(*families: int, preferred: int | None = None) -> list[Any]:
    return [address.place[1] for address in dial.in_turns(addresses(*families), preferred)]


def test_the_families_take_turns_in_the_systems_order() -> None:
    assert order(V6, V6, V6, V4, V4) == [0, 3, 1, 4, 2]
    assert order(V4, V4, V6) == [0, 2, 1]
    assert order(V4) == [0]


def test_the_family_that_answered_last_comes_first() -> None:
    assert order(V6, V6, V4, V4, preferred=V4) == [2, 0, 3, 1]
    assert order(V6, V6, preferred=V4) == [0, 1]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, list[str]]]:
    """Names and their addresses in this order, known to this process alone."""
    known: dict[str, list[str]] = {}
    resolve = socket.getaddrinfo

    def found(host: str, port: int, *more: Any, **others: Any) -> Any:
        return [each for name in known.get(host, [host]) for each in resolve(name, port, *more, **others)]

    monkeypatch.setattr(socket, "getaddrinfo", found)
    monkeypatch.setattr(dial, "_families", {})
    yield known


def black_hole(stack: ExitStack, port: int) -> None:
    """Takes no more connections at this port: what is sent there is dropped without a word."""
    listening = stack.enter_context(socket.socket())
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind((HOLE, port))
    listening.listen(0)
    for _ in range(8):
        waiting = stack.enter_context(socket.socket())
        waiting.setblocking(False)
        waiting.connect_ex((HOLE, port))


def test_an_address_that_never_answers_costs_the_head_start_alone(
    model: Model, names: dict[str, list[str]]
) -> None:
    port = int(model.server.endpoint.rpartition(":")[2])
    names["hub.test"] = [HOLE, hub_server.HUB_HOST]
    small = model.only("model_index.json")
    with ExitStack() as stack:
        black_hole(stack, port)
        began = time.monotonic()
        found = small.fetch(endpoint=f"http://hub.test:{port}")
        seconds = time.monotonic() - began
    assert found["model_index.json"].exists()
    assert seconds < 9, "waiting for the first address alone takes 10 s"


def test_where_none_answers_it_says_so(names: dict[str, list[str]]) -> None:
    with ExitStack() as stack:
        free = stack.enter_context(socket.create_server((hub_server.HUB_HOST, 0)))
        port = free.getsockname()[1]
        black_hole(stack, port)
        names["hole.test"] = [HOLE]
        with pytest.raises(TimeoutError):
            dial.connect("hole.test", port, 0.5)
        free.close()
        names["refused.test"] = [hub_server.HUB_HOST, "127.0.0.8"]
        with pytest.raises(ConnectionRefusedError):
            dial.connect("refused.test", port, 5)


def test_an_address_that_refuses_gives_way_at_once(names: dict[str, list[str]]) -> None:
    with socket.create_server((hub_server.STORAGE_HOST, 0)) as listening:
        names["two.test"] = [hub_server.HUB_HOST, hub_server.STORAGE_HOST]
        made = dial.connect("two.test", listening.getsockname()[1], 60)
        with made:
            assert made.getpeername()[0] == hub_server.STORAGE_HOST


def test_the_winners_family_is_remembered(names: dict[str, list[str]]) -> None:
    with socket.create_server((hub_server.HUB_HOST, 0)) as listening:
        port = listening.getsockname()[1]
        names["six.test"] = ["::1", hub_server.HUB_HOST]
        dial.connect("six.test", port, 60).close()
        assert dial._families == {"six.test": V4}


def test_an_unknown_name_is_named(model: Model) -> None:
    with pytest.raises(KitError, match=r"the name hub\.invalid cannot be resolved"):
        model.fetch(endpoint="https://hub.invalid")
