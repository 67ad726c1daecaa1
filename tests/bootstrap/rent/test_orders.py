"""An order rents one box or none: it is found again by its own label, and costs what was listed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bootstrap.choose import reading
from bootstrap.platforms import registry
from bootstrap.platforms.market import (
    Filters,
    HostExcluded,
    Market,
    MarketError,
    NotOffered,
    Offer,
    Pending,
    Rental,
    TooDear,
    UnknownRental,
    Unsettled,
)
from bootstrap.platforms.order import Order
from tests.bootstrap.rent import marketplaces
from tests.bootstrap.rent.marketplaces import World

MARKETS = registry.named("market")
LABELLED = [name for name in MARKETS if name != "clore"]  # Clore's orders have no name
# One box of each that the fake marketplaces list in stock.
FOREIGN_IDS = {"vast": "1", "runpod": "p0", "clore": "5"}


@pytest.fixture
def world() -> Iterator[World]:
    with marketplaces.serve() as running:
        yield running


def client(world: World, platform: str, known_ids: tuple[str, ...] = ()) -> Market:
    return registry.market(platform)(world.key, world.url, sleep=lambda _: None, known_ids=known_ids)


def order(model: str = "wan22") -> Order:
    manifest = reading.load(model)
    return Order(manifest=manifest, profile=manifest.profiles[-1])


def first(market: Market, filters: Filters | None = None) -> Offer:
    wanted = order()
    return market.offers(wanted.profile.needs, wanted.disk_gb, filters or Filters())[0]


def rent(world: World, platform: str) -> tuple[Market, Rental]:
    market = client(world, platform)
    return market, market.create(first(market), order())


def creates(world: World) -> list[object]:
    return [
        body for method, path, body in world.calls if marketplaces.is_create(method, path.partition("?")[0])
    ]


def test_two_orders_of_one_model_have_two_labels() -> None:
    assert order().label != order().label
    assert order().label.startswith("kinokit-wan22-")


@pytest.mark.parametrize("platform", MARKETS)
@pytest.mark.parametrize("lost", ["hang up", "cut", "broken", "502 page", "page"])
def test_a_box_whose_answer_was_lost_is_found_and_not_ordered_twice(
    world: World, platform: str, lost: str
) -> None:
    market = client(world, platform)
    offer = first(market)
    world.create_lost = lost
    rental = market.create(offer, order())
    assert list(world.rented) == [rental.id]
    assert len(creates(world)) == 1


@pytest.mark.parametrize("platform", MARKETS)
def test_an_order_that_times_out_is_looked_for(world: World, platform: str) -> None:
    market = client(world, platform)
    offer = first(market)
    world.create_lost = "slow"
    market.timeout_seconds = 1.0
    rental = market.create(offer, order())
    assert list(world.rented) == [rental.id]
    assert len(creates(world)) == 1


@pytest.mark.parametrize("platform", MARKETS)
def test_a_running_box_of_the_same_model_is_never_taken_for_the_new_one(world: World, platform: str) -> None:
    market, older = rent(world, platform)
    offer = first(market)
    world.create_refused = True
    with pytest.raises(MarketError):
        market.create(offer, order())
    assert list(world.rented) == [older.id]


@pytest.mark.parametrize("platform", LABELLED)
def test_a_box_that_another_process_rents_meanwhile_is_not_adopted(world: World, platform: str) -> None:
    """The set of ids before the order is not enough: another terminal orders at the same time."""
    market = client(world, platform)
    offer = first(market)
    world.create_names_nothing = True
    theirs, mine = order(), order()

    class Meanwhile(type(market)):  # type: ignore[misc]
        def _order(self, offer: Offer, order: Order) -> str | None:
            client(world, platform).create(offer, theirs)
            return super()._order(offer, order)  # type: ignore[no-any-return]

    rental = Meanwhile(world.key, world.url, sleep=lambda _: None).create(offer, mine)
    assert rental.label == mine.label
    assert len(world.rented) == 2


@pytest.mark.parametrize("platform", MARKETS)
def test_what_nobody_can_find_out_is_said_with_the_label(world: World, platform: str) -> None:
    market = client(world, platform)
    offer, wanted = first(market), order()

    class Down(type(market)):  # type: ignore[misc]
        def _order(self, offer: Offer, order: Order) -> str | None:
            world.down = True
            return super()._order(offer, order)  # type: ignore[no-any-return]

    with pytest.raises(Unsettled) as error:
        Down(world.key, world.url, sleep=lambda _: None).create(offer, wanted)
    assert wanted.label in str(error.value)
    assert error.value.label == wanted.label


@pytest.mark.parametrize("platform", MARKETS)
def test_a_list_that_hiccups_after_the_order_does_not_lose_the_box(world: World, platform: str) -> None:
    market = client(world, platform)
    offer = first(market)
    world.create_names_nothing = True

    class Hiccup(type(market)):  # type: ignore[misc]
        def _order(self, offer: Offer, order: Order) -> str | None:
            made = super()._order(offer, order)
            world.faults += ["502 page"] * 7
            return made  # type: ignore[no-any-return]

    rental = Hiccup(world.key, world.url, sleep=lambda _: None).create(offer, order())
    assert list(world.rented) == [rental.id]


@pytest.mark.parametrize("platform", MARKETS)
def test_a_box_that_costs_more_than_was_listed_is_ended_at_once(world: World, platform: str) -> None:
    market = client(world, platform)
    offer = first(market)
    world.charged = offer.dollars_per_hour * 2 * (24 if platform == "clore" else 1)
    with pytest.raises(TooDear) as error:
        market.create(offer, order())
    assert world.rented == {}
    assert error.value.ended
    assert "ended at once" in str(error.value)


@pytest.mark.parametrize("platform", MARKETS)
def test_a_box_that_is_too_dear_and_cannot_be_ended_is_said_to_be_rented(world: World, platform: str) -> None:
    market = client(world, platform)
    offer = first(market)
    world.charged, world.undying = 200.0, 100
    with pytest.raises(TooDear) as error:
        market.create(offer, order())
    (id,) = world.rented
    assert not error.value.ended
    assert "STILL RENTED, $" in str(error.value)
    assert f"kinokit rent stop {id} --platform {platform}" in str(error.value)


@pytest.mark.parametrize("platform", MARKETS)
def test_no_box_is_kept_above_the_limit(world: World, platform: str) -> None:
    market = client(world, platform)
    offer = first(market)
    with pytest.raises(TooDear):
        market.create(offer, order(), Filters(max_dollars_per_hour=0.1))
    assert world.rented == {}


@pytest.mark.parametrize("platform", MARKETS)
def test_a_host_on_the_black_list_is_neither_offered_nor_kept(world: World, platform: str) -> None:
    market, rental = rent(world, platform)
    assert rental.host_id
    filters = Filters(excluded_hosts=frozenset({rental.host_id}))
    offer = first(market)
    market.destroy(rental.id)
    with pytest.raises(HostExcluded):
        market.create(offer, order(), filters)
    assert world.rented == {}


def test_runpod_rents_in_the_cloud_whose_price_was_listed(world: World) -> None:
    market = client(world, "runpod")
    world.listings["runpod"] = [
        {
            "id": "NVIDIA GeForce RTX 4090",
            "displayName": "RTX 4090",
            "memoryInGb": 24,
            "secure": {"uninterruptablePrice": 1.19, "minMemory": 60, "stockStatus": "High"},
            "community": {"uninterruptablePrice": 0.59, "minMemory": 60, "stockStatus": "Low"},
        }
    ]
    wanted = order()
    (cheap,) = market.offers(wanted.profile.needs, wanted.disk_gb, Filters(max_dollars_per_hour=0.7))
    rental = market.create(cheap, wanted)
    (body,) = creates(world)
    assert isinstance(body, dict)
    assert body["cloudType"] == "COMMUNITY"
    assert body["gpuTypeIds"] == ["NVIDIA GeForce RTX 4090"]
    assert rental.dollars_per_hour == pytest.approx(0.59)


@pytest.mark.parametrize("platform", MARKETS)
def test_boxes_of_other_purposes_are_neither_listed_nor_touched(world: World, platform: str) -> None:
    market, rental = rent(world, platform)
    foreign = FOREIGN_IDS[platform]
    assert [each.id for each in market.rentals()] == [rental.id]
    for touch in (market.destroy, market.stop, market.resume, market.logs, market.ssh, market.find):
        with pytest.raises(UnknownRental, match=foreign):
            touch(foreign)
    sent = [path for method, path, _ in world.calls if method in ("DELETE", "PUT") or "cancel" in path]
    assert not any(path.rstrip("/").endswith(f"/{foreign}") for path in sent)


def test_clores_orders_are_the_kits_by_its_records_where_variables_are_not_given_back(world: World) -> None:
    world.gives_variables_back = False
    market, rental = rent(world, "clore")
    assert [each.id for each in market.rentals()] == [rental.id]
    assert client(world, "clore").rentals() == []
    assert [each.id for each in client(world, "clore", (rental.id,)).rentals()] == [rental.id]


def test_clores_order_whose_answer_was_lost_is_found_by_its_server(world: World) -> None:
    """Killed between the order and its answer: the ledger has the label and the server, and no id."""
    world.gives_variables_back = False
    _, rental = rent(world, "clore")
    assert rental.host_id
    ordered_at = 1764300000.0 - 30  # the fake's orders are of 1764300000

    def seen(host_id: str, since: float) -> list[tuple[str, str]]:
        pending = Pending("kinokit-wan22-c0ffee", host_id, since)
        market = registry.market("clore")(world.key, world.url, sleep=lambda _: None, pending=[pending])
        return [(each.id, each.label) for each in market.rentals()]

    assert seen(rental.host_id, ordered_at) == [(rental.id, "kinokit-wan22-c0ffee")]
    assert seen("900", ordered_at + 10**6) == []  # an older order of another purpose
    assert seen("999", ordered_at) == []


@pytest.mark.parametrize("platform", LABELLED)
def test_a_box_is_stopped_resumed_and_ended(world: World, platform: str) -> None:
    market, rental = rent(world, platform)
    assert rental.state == "running"
    market.stop(rental.id)
    stopped = market.find(rental.id)
    assert stopped.state == "stopped"
    assert stopped.dollars_per_hour is not None
    assert rental.dollars_per_hour is not None
    assert stopped.dollars_per_hour < rental.dollars_per_hour
    market.resume(rental.id)
    assert market.find(rental.id).state == "running"
    market.destroy(rental.id)
    with pytest.raises(UnknownRental):
        market.find(rental.id)


def test_clore_says_that_it_cannot_stop(world: World) -> None:
    market, rental = rent(world, "clore")
    with pytest.raises(NotOffered, match="cannot stop"):
        market.stop(rental.id)
    assert list(world.rented) == [rental.id]


@pytest.mark.parametrize("platform", MARKETS)
def test_ssh_is_where_the_marketplace_maps_it(world: World, platform: str) -> None:
    market, rental = rent(world, platform)
    expected = {
        "vast": ("ssh4.vast.ai", 31022),  # port 22 is not mapped yet
        "runpod": ("127.0.0.1", 10341),
        "clore": ("n1.us.clorecloud.net", 1972),
    }
    ssh = market.ssh(rental.id)
    assert ssh is not None
    assert (ssh.user, ssh.host, ssh.port) == ("root", *expected[platform])


def test_vasts_log_is_read_from_its_store_without_the_key(world: World) -> None:
    market, rental = rent(world, "vast")
    world.log_uploads = 2
    assert market.logs(rental.id) == "the log\n"
    assert world.stored_headers
    assert all(world.key not in str(headers) for headers in world.stored_headers)


@pytest.mark.parametrize("platform", ["runpod", "clore"])
def test_a_marketplace_without_logs_says_so(world: World, platform: str) -> None:
    market, rental = rent(world, platform)
    with pytest.raises(NotOffered, match="no logs"):
        market.logs(rental.id)


def test_vast_instances_are_found_beyond_the_first_page(world: World) -> None:
    market = client(world, "vast")
    made = [market.create(first(market), order()).id for _ in range(4)]
    assert [each.id for each in market.rentals()] == made


def test_a_vast_that_has_only_the_older_paths_is_understood(world: World) -> None:
    world.old_api = True
    market, rental = rent(world, "vast")
    assert [each.id for each in market.rentals()] == [rental.id]


def test_an_outbid_box_is_interrupted_and_not_stopped(world: World) -> None:
    market = client(world, "vast")
    world.listings["vast"] = [{**each, "min_bid": 0.2} for each in world.listings["vast"]]
    offer = first(market, Filters(interruptible=True))
    assert offer.interruptible
    world.charged = 0.2
    rental = market.create(offer, order())
    (body,) = creates(world)
    assert isinstance(body, dict)
    assert body["price"] == offer.terms["price"] > 0.2
    world.rented[rental.id]["actual_status"] = "exited"
    assert market.find(rental.id).state == "interrupted"
