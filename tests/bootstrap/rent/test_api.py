"""A marketplace's API that hiccups: what passes is waited out, and what does not is said as what it is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bootstrap.platforms import reading, registry
from bootstrap.platforms.market import KeyRefused, Market, MarketError, Unreachable
from tests.bootstrap.rent import marketplaces
from tests.bootstrap.rent.marketplaces import World

MARKETS = registry.named("market")
PASSING = ["page", "502 page", "forbidden page", "broken", "cut", "hang up"]


@pytest.fixture
def world() -> Iterator[World]:
    with marketplaces.serve() as running:
        yield running


def client(world: World, platform: str, waits: list[float] | None = None) -> Market:
    sleep = (lambda _: None) if waits is None else waits.append
    return registry.market(platform)(world.key, world.url, sleep=sleep)


@pytest.mark.parametrize("platform", MARKETS)
@pytest.mark.parametrize("fault", PASSING)
def test_what_passes_is_asked_again(world: World, platform: str, fault: str) -> None:
    world.faults = [fault] * 3
    assert client(world, platform).rentals() == []
    assert len(world.calls) == 4


@pytest.mark.parametrize("platform", MARKETS)
@pytest.mark.parametrize("fault", PASSING)
def test_what_does_not_pass_is_no_refusal_and_no_empty_list(world: World, platform: str, fault: str) -> None:
    world.faults = [fault] * 100
    with pytest.raises(Unreachable):
        client(world, platform).rentals()
    assert len(world.calls) == 5


@pytest.mark.parametrize("platform", MARKETS)
@pytest.mark.parametrize(
    ("fault", "waits"), [("busy until a date", [60.0, 60.0]), ("busy", [1.0, 2.0]), ("broken", [1.0, 2.0])]
)
def test_a_wait_has_an_end_whatever_the_clocks_say(
    world: World, platform: str, fault: str, waits: list[float]
) -> None:
    world.faults = [fault] * 2
    waited: list[float] = []
    assert client(world, platform, waited).rentals() == []
    assert waited == waits


@pytest.mark.parametrize("platform", MARKETS)
def test_a_slow_answer_is_not_waited_for_for_ever(world: World, platform: str) -> None:
    world.faults = ["slow"]
    market = client(world, platform)
    market.timeout_seconds = 1.0
    assert market.rentals() == []


@pytest.mark.parametrize("platform", MARKETS)
def test_a_marketplace_that_is_not_there_is_unreachable(world: World, platform: str) -> None:
    market = registry.market(platform)(world.key, "http://127.0.0.1:9", sleep=lambda _: None)
    with pytest.raises(Unreachable, match="does not answer"):
        market.rentals()


@pytest.mark.parametrize("platform", MARKETS)
@pytest.mark.parametrize("answer", [None, {}, 7, {"code": 0}, {"instances": None}, {"code": 0, "orders": 7}])
def test_an_answer_without_its_list_is_not_an_empty_list(world: World, platform: str, answer: object) -> None:
    world.answers_all = (answer,)
    with pytest.raises(Unreachable):
        client(world, platform).rentals()


@pytest.mark.parametrize("platform", MARKETS)
def test_a_key_that_is_refused_is_told_from_a_proxy_that_refuses(world: World, platform: str) -> None:
    market = registry.market(platform)("wrong-secret", world.url, sleep=lambda _: None)
    with pytest.raises(KeyRefused) as error:
        market.rentals()
    assert "wrong-secret" not in str(error.value)


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("2024-07-12T19:14:40.144Z", 1720811680.144),
        ("2024-07-12 19:14:40.144 +0000 UTC", 1720811680.144),
        ("2024-07-12T21:14:40+02:00", 1720811680.0),
        ("2024-07-12T19:14:40.123456789Z", 1720811680.123456),
        (1720811680, 1720811680.0),
        (1720811680144, 1720811680.144),
        ("yesterday", None),
        ("", None),
        (None, None),
        ([], None),
    ],
)
def test_instants_are_read_as_marketplaces_write_them(written: object, seconds: float | None) -> None:
    found = reading.instant(written)
    assert found == (None if seconds is None else pytest.approx(seconds, abs=1e-3))


@pytest.mark.parametrize("platform", MARKETS)
def test_a_path_that_moved_is_followed_on_the_same_host_alone(world: World, platform: str) -> None:
    world.faults = ["moved"]
    assert client(world, platform).rentals() == []
    world.faults = ["moved away"]
    with pytest.raises(MarketError, match="308"):
        client(world, platform).rentals()
    assert len(world.calls) == 3
