"""Hubs and storage that point on: followed to the end, and no token goes with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest

from bootstrap.choose.manifest import Licence, Source
from bootstrap.errors import KitError
from bootstrap.fetch.http.origin import Origin
from tests import hub
from tests.bootstrap.fetch.conftest import BIG, FILES, Model, manifest_of
from tests.support.answering import Asked, serving

PAGE = "https://hub.example/studio/gated"
STATUSES = [301, 302, 303, 307, 308]


class Door:
    """Points every request to the same path at another address; ``seen`` has what came with it."""

    def __init__(self, status: int, to: Callable[[Asked], str]) -> None:
        self._status = status
        self._to = to
        self.seen: list[tuple[str, str | None]] = []

    def __call__(self, asked: Asked) -> None:
        self.seen.append((asked.command, asked.headers.get("Authorization")))
        asked.reply(self._status, Location=self._to(asked))


@pytest.fixture
def doors() -> Iterator[Callable[..., tuple[str, Door]]]:
    with ExitStack() as open_:

        def make(to: str | Callable[[Asked], str], status: int = 302) -> tuple[str, Door]:
            door = Door(status, to if callable(to) else lambda asked: to + asked.path)
            return open_.enter_context(serving(door)), door

        yield make


Doors = Callable[..., tuple[str, Door]]


@pytest.mark.parametrize("status", STATUSES)
def test_storage_that_points_to_other_storage_is_followed(model: Model, doors: Doors, status: int) -> None:
    model.server.storage_address, door = doors(model.server.storage, status)
    assert model.is_right(model.fetch(connections=2))
    gets = [command for command, _ in door.seen if command == "GET"]
    assert 2 <= len(gets) <= 20, "once for each file and connection, not for each range"
    assert not any(authorization for _, authorization in door.seen)


def test_five_doors_in_a_row_are_followed(model: Model, doors: Doors) -> None:
    address = model.server.storage
    for _ in range(5):
        address, _ = doors(address)
    model.server.storage_address = address
    assert model.is_right(model.only(BIG).fetch() | {k: v for k, v in model.fetch().items() if k != BIG})


def test_storage_that_points_to_itself_is_named_at_once(model: Model, doors: Doors) -> None:
    model.server.storage_address, _ = doors(lambda asked: asked.path)
    with pytest.raises(
        KitError, match=r"is redirected 6 times without an end: 127\.0\.0\.1:\d+ -> "
    ) as circle:
        model.fetch()
    assert "Signature" not in str(circle.value)


def test_a_mirror_stands_in_for_storage_that_goes_in_circles(model: Model, doors: Doors) -> None:
    model.server.storage_address, _ = doors(lambda asked: asked.path)
    with hub.serve() as other:
        other.add(model.repo.name, FILES)
        assert model.is_right(model.fetch(mirrors=(other.endpoint,)))


def test_an_address_that_moved_and_went_away_is_asked_for_again(model: Model, doors: Doors) -> None:
    seen: list[str] = []

    def nearest(asked: Asked) -> str:
        seen.append(asked.path)
        gone = "http://127.0.0.1:1"  # nobody listens there
        return (gone if len(seen) < 3 else model.server.storage) + asked.path

    model.server.storage_address, _ = doors(nearest)
    assert model.is_right(model.fetch())


@pytest.mark.parametrize("status", STATUSES)
def test_an_endpoint_that_points_to_another_hub_is_followed(model: Model, doors: Doors, status: int) -> None:
    address, door = doors(model.server.endpoint, status)
    assert model.is_right(model.fetch(endpoint=address, token="hf_mine"))
    assert {authorization for _, authorization in door.seen} == {None}, "nobody asked for it"
    assert not any("authorization" in seen.headers for seen in model.server.seen)


def test_the_digests_of_the_other_hub_are_used_where_the_manifest_has_none(
    model: Model, doors: Doors
) -> None:
    address, _ = doors(model.server.endpoint)
    assert model.is_right(model.with_files(sha256=None, git_oid=None).fetch(endpoint=address))
    assert "only the size" not in (model.reports[-1].note or "")


def test_a_gate_behind_the_endpoint_says_where_the_token_does_not_go(model: Model, doors: Doors) -> None:
    repo = model.server.add("studio/gated", FILES, gated=True)
    licence = Licence(id="community", url=PAGE, gated=True, accept_url=PAGE)
    gated = replace(model, repo=repo, manifest=manifest_of(repo).model_copy(update={"licence": licence}))
    model.server.allow("hf_mine")
    address, door = doors(model.server.endpoint)
    with pytest.raises(KitError, match=r"redirects to 127\.0\.0\.1:\d+, which asks for a token") as refused:
        gated.fetch(endpoint=address, token="hf_mine")
    assert f"set HF_ENDPOINT to {model.server.endpoint}" in refused.value.fix
    assert {authorization for _, authorization in door.seen} == {"Bearer hf_mine"}
    assert not any("authorization" in seen.headers for seen in model.server.seen)


def test_hubs_that_point_to_each_other_are_named(model: Model, doors: Doors) -> None:
    addresses = ["", ""]
    addresses[0], _ = doors(lambda asked: addresses[1] + asked.path)
    addresses[1], _ = doors(lambda asked: addresses[0] + asked.path)
    with pytest.raises(KitError, match="without an end") as circle:
        model.fetch(endpoint=addresses[0])
    assert all(address.removeprefix("http://") in str(circle.value) for address in addresses)


def test_a_folder_that_points_to_a_relative_address_is_followed(model: Model, doors: Doors) -> None:
    there = f"{model.server.storage}/plain/{model.repo.name}"

    def to(asked: Asked) -> str:
        old, _, path = asked.path.partition("/old/")
        return f"/new/{path}" if not old and path else there + asked.path.removeprefix("/new")

    address, _ = doors(to)
    source = Source.model_construct(url=f"{address}/old")
    model.manifest = model.manifest.model_copy(update={"source": source})
    assert model.is_right(model.fetch())


def test_a_redirect_to_something_else_than_http_is_refused(model: Model, doors: Doors) -> None:
    address, _ = doors(lambda asked: "file:///etc/passwd")
    with pytest.raises(KitError, match="an address of kind 'file'"):
        model.fetch(endpoint=address)


def test_the_step_from_http_to_https_on_the_same_host_keeps_the_token() -> None:
    owner = Origin.of("http://hub.example")
    assert Origin.of("https://hub.example/x").may_have_token_of(owner)
    for other in ("https://hub.example:8443", "https://www.hub.example", "http://hub.example:81"):
        assert not Origin.of(other).may_have_token_of(owner)
    assert not owner.may_have_token_of(Origin.of("https://hub.example"))
