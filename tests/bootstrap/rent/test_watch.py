"""Watching a box: a hiccup never loses it from sight, and its end is tried until it is true."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from bootstrap.choose import reading
from bootstrap.platforms import registry
from bootstrap.platforms.market import Market, Rental
from bootstrap.platforms.order import Order
from bootstrap.rent import watch
from bootstrap.rent.watch import NotReady, Ready, StillRented
from tests.bootstrap.rent import marketplaces
from tests.bootstrap.rent.marketplaces import World


@pytest.fixture
def world() -> Iterator[World]:
    with marketplaces.serve() as running:
        yield running


class Time:
    """Passes by sleeping alone. ``at``: what happens on the fake marketplace at a second of it."""

    def __init__(self, **at: Callable[[], None]) -> None:
        self.now = 0.0
        self.at = {float(name.removeprefix("s")): event for name, event in at.items()}

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        for second in [second for second in self.at if second <= self.now]:
            self.at.pop(second)()


def client(world: World, platform: str = "vast") -> Market:
    return registry.market(platform)(world.key, world.url, sleep=lambda _: None)


def rented(world: World, market: Market) -> Rental:
    manifest = reading.load("wan22")
    order = Order(manifest=manifest, profile=manifest.profiles[-1])
    return market.create(market.offers(order.profile.needs, order.disk_gb)[0], order)


def until_ready(market: Market, rental: Rental, time: Time, lines: list[str], minutes: float = 30) -> Ready:
    return watch.until_ready(
        market, rental, port=8000, minutes=minutes, report=lines.append, clock=time.clock, sleep=time.sleep
    )  # fmt: skip


def test_a_marketplace_that_is_away_for_a_while_is_asked_again(world: World) -> None:
    market = client(world)
    rental = rented(world, market)
    world.ready_after = 6

    def back() -> None:
        world.down = False

    world.down = True
    lines: list[str] = []
    assert until_ready(market, rental, Time(s300=back), lines).seconds >= 300
    assert any("503" in line and "asked again" in line for line in lines)


def test_a_box_that_answers_is_ready_while_its_marketplace_is_away(world: World) -> None:
    market = client(world)
    rental = rented(world, market)
    world.ready_after = 4

    def away() -> None:
        world.down = True

    ready = until_ready(market, rental, Time(s10=away), [])
    assert ready.url == world.box_url


@pytest.mark.parametrize("platform", ["vast", "runpod"])
def test_at_the_limit_the_end_is_tried_until_it_is_true(world: World, platform: str) -> None:
    market = client(world, platform)
    rental = rented(world, market)
    world.ready_after = 10**6
    world.undying = 20
    lines: list[str] = []
    with pytest.raises(NotReady, match="5 minutes passed"):
        until_ready(market, rental, Time(), lines, minutes=5)
    assert world.rented == {}
    assert world.undying == 0
    assert any("not ended yet" in line for line in lines)


def test_what_cannot_be_ended_is_said_with_its_price_and_the_line_that_ends_it(world: World) -> None:
    market = client(world)
    rental = rented(world, market)
    world.ready_after = 10**6
    world.undying = 10**6
    with pytest.raises(StillRented) as error:
        until_ready(market, rental, Time(), [], minutes=5)
    assert str(error.value).startswith("STILL RENTED, $0.40/h")
    assert "kinokit rent stop 9001 --platform vast" in str(error.value)
    assert error.value.exit_code != 0


def test_a_list_that_forgets_a_box_once_is_a_hiccup(world: World) -> None:
    market = client(world)
    rental = rented(world, market)
    world.ready_after = 8

    def forget() -> None:
        world.forgets = 2

    assert until_ready(market, rental, Time(s5=forget), []).url == world.box_url


def test_a_box_that_is_gone_is_not_waited_for(world: World) -> None:
    market = client(world)
    rental = rented(world, market)
    world.ready_after = 10**6
    time = Time(s20=lambda: world.rented.clear())
    with pytest.raises(NotReady, match="no longer lists it"):
        until_ready(market, rental, time, [])
    assert time.now < 120


def test_a_container_that_never_answers_is_the_hosts_fault_and_found_early(world: World) -> None:
    market = client(world)
    rental = rented(world, market)
    world.ready_after = 10**6  # 502 for ever
    time = Time()
    with pytest.raises(NotReady, match="no answer within 15 minutes") as error:
        until_ready(market, rental, time, [], minutes=60)
    assert error.value.is_hosts
    assert time.now < 16 * 60
    assert world.rented == {}


def test_a_boot_that_fails_late_says_nothing_against_the_host(world: World) -> None:
    market = client(world)
    rental = rented(world, market)
    world.boot_fails = True  # while it fetches
    with pytest.raises(NotReady, match="boot failed") as error:
        until_ready(market, rental, Time(), [])
    assert not error.value.is_hosts


@pytest.mark.parametrize("platform", registry.named("market"))
def test_a_box_that_somebody_else_ended_meanwhile_is_ended(world: World, platform: str) -> None:
    rental = rented(world, client(world, platform))
    world.rented.clear()
    time, lines = Time(), list[str]()
    watch.end(
        client(world, platform), rental, port=8000, report=lines.append, clock=time.clock, sleep=time.sleep
    )
    assert lines == []
    assert time.now == 0
