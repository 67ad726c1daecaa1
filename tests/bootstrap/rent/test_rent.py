"""Renting: the cheapest clip first, no orphan that costs money, nothing without a yes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from typer.testing import CliRunner

from bootstrap.choose import reading
from bootstrap.commands.rent import app
from bootstrap.errors import KitError
from bootstrap.platforms import registry
from bootstrap.platforms.market import Market, Offer, UnknownRental
from bootstrap.platforms.order import Order
from bootstrap.rent import cost, watch
from tests.bootstrap.rent import marketplaces
from tests.bootstrap.rent.marketplaces import World


@pytest.fixture
def world() -> Iterator[World]:
    with marketplaces.serve() as running:
        yield running


def market(world: World, platform: str, key: str | None = None) -> Market:
    return registry.market(platform)(key or world.key, world.url, sleep=lambda _: None)


def order(model: str = "wan22") -> Order:
    manifest = reading.load(model)
    return Order(manifest=manifest, profile=manifest.profiles[-1])


def offers(world: World, platform: str) -> list[Offer]:
    wanted = order()
    return market(world, platform).offers(wanted.profile.needs, wanted.disk_gb)


@pytest.mark.parametrize("platform", registry.named("market"))
def test_offers_come_in_one_form_from_every_marketplace(world: World, platform: str) -> None:
    found = offers(world, platform)
    assert found
    for each in found:
        assert each.dollars_per_hour > 0
        assert each.gpus >= 1
        assert each.vram_gib * 0.93 >= order().profile.needs.vram_gib
        assert each.gpu


def test_clore_prices_are_made_hourly_and_rented_or_old_servers_left_out(world: World) -> None:
    (only,) = offers(world, "clore")
    assert only.id == "501"
    assert only.listed_dollars_per_hour == pytest.approx(0.40)
    assert only.dollars_per_hour == pytest.approx(0.42)  # with the renter's half of the fee


def test_hosts_with_older_drivers_are_offered_where_a_torch_runs_on_their_card(world: World) -> None:
    ada, hopper, _ = world.listings["vast"]
    world.listings["vast"] = [
        {**ada, "cuda_max_good": 12.2},
        {**ada, "id": 21, "compute_cap": 1200, "cuda_max_good": 12.6},  # Blackwell needs CUDA 12.8
        {**hopper, "cuda_max_good": 11.8},  # too old for every torch of the kit
    ]
    assert [each.id for each in offers(world, "vast")] == [str(ada["id"])]


def test_the_cheapest_clip_comes_first_and_unknown_cards_last(world: World) -> None:
    ranked = cost.rank(offers(world, "vast"), order().manifest, clips=20)
    assert [each.offer.id for each in ranked][-1] == "13"
    per_clip = [each.dollars_per_clip for each in ranked[:-1]]
    assert per_clip == sorted(per_clip)  # type: ignore[type-var]
    first = ranked[0]
    assert first.session_dollars == pytest.approx(20 * (first.dollars_per_clip or 0))
    assert first.download_dollars == pytest.approx(41.3e9 / 1e9 * first.offer.dollars_per_gb_down, rel=0.05)


@pytest.mark.parametrize("platform", registry.named("market"))
@pytest.mark.parametrize("odd", ["", "create_fails_but_exists", "create_names_nothing"])
def test_a_box_is_found_again_whatever_the_answer_to_its_order_was(
    world: World, platform: str, odd: str
) -> None:
    if odd:
        setattr(world, odd, True)
    offer = offers(world, platform)[0]
    rental = market(world, platform).create(offer, order())
    assert [each.id for each in market(world, platform).rentals()] == [rental.id]
    market(world, platform).destroy(rental.id)
    assert world.rented == {}


@pytest.mark.parametrize("platform", ["vast", "runpod"])
def test_a_box_that_was_there_before_is_not_taken_for_the_new_one(world: World, platform: str) -> None:
    offer = offers(world, platform)[0]
    older = market(world, platform).create(offer, order())
    world.create_refused = True
    with pytest.raises(KitError):
        market(world, platform).create(offer, order())
    assert [each.id for each in market(world, platform).rentals()] == [older.id]


@pytest.mark.parametrize("platform", registry.named("market"))
def test_a_create_that_fails_is_never_sent_twice(world: World, platform: str) -> None:
    world.create_fails_but_exists = True
    market(world, platform).create(offers(world, platform)[0], order())
    creates = [
        path
        for method, path, _ in world.calls
        if "asks" in path or "create" in path or (method, path) == ("POST", "/v1/pods")
    ]
    assert len(creates) == 1


@pytest.mark.parametrize("platform", registry.named("market"))
def test_too_many_calls_are_waited_out(world: World, platform: str) -> None:
    world.rate_limited = 2
    assert offers(world, platform)


@pytest.mark.parametrize("platform", registry.named("market"))
def test_a_refused_key_is_said_without_the_key(world: World, platform: str) -> None:
    with pytest.raises(KitError) as error:
        market(world, platform, key="wrong-secret").rentals()
    assert "key" in str(error.value)
    assert "wrong-secret" not in str(error.value)


@pytest.mark.parametrize("platform", registry.named("market"))
def test_ending_what_is_gone_already_is_no_error(world: World, platform: str) -> None:
    client = market(world, platform)
    rental = client.create(offers(world, platform)[0], order())
    client.destroy(rental.id)
    client.destroy(rental.id)
    assert world.rented == {}


@pytest.mark.parametrize("platform", registry.named("market"))
def test_an_id_that_the_kit_never_rented_is_an_error_of_its_own(world: World, platform: str) -> None:
    with pytest.raises(UnknownRental, match="12345"):
        market(world, platform).destroy("12345")


def test_vast_rentals_of_other_purposes_are_left_alone(world: World) -> None:
    assert market(world, "vast").rentals() == []


def test_a_box_is_ready_after_its_502s_and_503s(world: World) -> None:
    world.ready_after = 4
    box = market(world, "vast")
    rental = box.create(offers(world, "vast")[0], order())
    lines: list[str] = []
    ready = watch.until_ready(box, rental, port=8000, minutes=1, report=lines.append, sleep=lambda _: None)
    assert ready.url == world.box_url
    assert any("not up yet" in line for line in lines)
    assert any("fetching 50%" in line for line in lines)


def test_a_box_that_does_not_get_ready_is_ended(world: World) -> None:
    world.ready_after = 10**6
    box = market(world, "vast")
    rental = box.create(offers(world, "vast")[0], order())
    ticks = iter(range(0, 10**6, 10))
    with pytest.raises(KitError, match="ended and costs nothing"):
        watch.until_ready(
            box,
            rental,
            port=8000,
            minutes=5,
            report=lambda _: None,
            clock=lambda: next(ticks),
            sleep=lambda _: None,
        )
    assert world.rented == {}


def test_a_boot_that_failed_is_not_waited_for(world: World) -> None:
    world.boot_fails = True
    box = market(world, "vast")
    rental = box.create(offers(world, "vast")[0], order())
    with pytest.raises(KitError, match="boot failed"):
        watch.until_ready(box, rental, port=8000, minutes=5, report=lambda _: None, sleep=lambda _: None)
    assert world.rented == {}


def cli(world: World, *arguments: str, answer: str = "") -> tuple[int, str]:
    env = {
        "VAST_API_KEY": world.key,
        "VAST_API_KEY_ADDRESS": world.url,
        "KINOKIT_SOURCE": "https://example.org/v1/kinokit-1-py3-none-any.whl",
    }
    result = CliRunner().invoke(app, [*arguments], input=answer, env=env)
    return result.exit_code, result.output + (str(result.exception) if result.exception else "")


def test_nothing_is_rented_without_a_yes(world: World) -> None:
    _, output = cli(world, "start", answer="n\n")
    assert "nothing was rented" in output
    assert world.rented == {}


def test_nothing_dearer_than_the_limit_is_offered(world: World) -> None:
    _, output = cli(world, "offers", "--max-price", "0.2")
    assert "RTX 4090" not in output
    _, output = cli(world, "offers", "--max-price", "0.01")
    assert "nothing with" in output


def test_start_rents_waits_and_prints_a_link_that_signs_in(world: World) -> None:
    code, output = cli(world, "start", "--yes", "--offer", "11")
    assert code == 0, output
    assert f"{world.box_url}/?token=" in output
    (created,) = [body for method, path, body in world.calls if method == "PUT"]
    assert created["env"]["KINOKIT_TOKEN"] in output
    assert "stop 9001" in output
    code, output = cli(world, "stop", "9001", "--yes")
    assert code == 0
    assert world.rented == {}


def test_a_refused_order_that_rented_nothing_stays_an_error(world: World) -> None:
    gone = Offer("runpod", "x", "RTX 4090", 1, 24, 0.1)
    client = market(world, "runpod")
    world.key = "another"
    with pytest.raises(KitError):
        client.create(gone, order())


def test_nothing_is_rented_when_nobody_says_where_the_kit_is_published(world: World) -> None:
    _, output = cli(
        world, "start", "--yes", "--source", "kinokit==1", "--script-url", "https://a:b@example.org"
    )
    assert "holds credentials" in output
    assert world.rented == {}
