"""A session of renting: what a command, a crash or a closed laptop leaves behind is always found again."""

from __future__ import annotations

import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from bootstrap.choose import reading
from bootstrap.platforms import registry
from bootstrap.platforms.order import Order
from bootstrap.rent.ledger import Entry, Ledger
from tests.bootstrap.rent import kit, marketplaces
from tests.bootstrap.rent.marketplaces import World
from tests.support.waiting import wait_for

pytestmark = pytest.mark.apart


@pytest.fixture
def world() -> Iterator[World]:
    with marketplaces.serve() as running:
        yield running


def orders(world: World) -> list[dict[str, str]]:
    return [body for _, path, body in world.calls if "/asks/" in path]


def test_a_box_is_told_when_to_end_itself_and_what_it_costs(world: World, state: Path) -> None:
    code, said = kit.rent(world, "start", "--yes", "--hours", "3", "--idle-minutes", "20")
    assert code == 0, said
    env = orders(world)[0]["env"]
    assert env["KINOKIT_IDLE_STOP_MINUTES"] == "20"  # type: ignore[index]
    assert env["KINOKIT_STOP_AFTER_HOURS"] == "3"  # type: ignore[index]
    assert float(env["KINOKIT_HOURLY_COST"]) > 0  # type: ignore[index]
    assert "after 20 minutes without work or after 3 hours (at most $9.00)" in said
    (row,) = kit.ledger(state)
    assert row["state"] == "rented"
    assert row["deadline"] == pytest.approx(row["ordered_at"] + 3 * 3600)
    assert stat.S_IMODE((state / "rentals.json").stat().st_mode) == 0o600


def test_where_no_box_stops_itself_that_is_said(world: World) -> None:
    more = {"CLORE_API_KEY": world.key, "CLORE_API_KEY_ADDRESS": world.url}
    _, said = kit.rent(world, "start", "--platform", "clore", answer="n\n", **more)
    assert "Clore.ai lets no box stop itself" in said
    assert world.rented == {}


def test_a_gated_model_without_a_token_is_refused_before_money_is_spent(world: World) -> None:
    code, said = kit.rent(world, "start", "--yes", "--model", "svd-xt-1-1")
    assert code == 1
    assert "is gated" in said
    assert orders(world) == []
    code, said = kit.rent(world, "start", "--yes", "--model", "svd-xt-1-1", "--hf-token", "hf_1")
    assert code == 0, said
    assert orders(world)[0]["env"]["HF_TOKEN"] == "hf_1"  # type: ignore[index]
    _, said = kit.rent(world, "start", "--model", "svd-xt-1-1", "--hf-token-later", answer="n\n")
    assert "the boot page asks for the token" in said


def test_the_storages_keys_go_along_with_its_address_and_not_without(world: World) -> None:
    keys = {
        "AWS_ACCESS_KEY_ID": "AKIA1",
        "AWS_SECRET_ACCESS_KEY": "s3/cret+",
        "AWS_ENDPOINT_URL": "https://s3.example",
    }
    code, said = kit.rent(world, "start", "--yes", **keys)
    assert code == 0, said
    assert "s3/cret" not in str(world.calls)
    code, said = kit.rent(world, "start", "--yes", "--results-url", "s3://clips/of-mine", **keys)
    assert code == 0, said
    assert keys.items() <= orders(world)[1]["env"].items()  # type: ignore[attr-defined]
    assert orders(world)[1]["env"]["KINOKIT_RESULTS_URL"] == "s3://clips/of-mine"  # type: ignore[index]
    assert "write there alone" in said
    code, said = kit.rent(world, "start", "--yes", "--results-url", "s3://c", AWS_SECRET_ACCESS_KEY="s3$cret")
    assert code == 1
    assert "AWS_SECRET_ACCESS_KEY" in said
    assert "s3$cret" not in said


def test_a_model_without_a_gate_takes_no_token_to_a_strangers_host(world: World) -> None:
    code, said = kit.rent(world, "start", "--yes", HF_TOKEN="hf_s3cret")
    assert code == 0, said
    assert "hf_s3cret" not in str(world.calls)


def test_the_next_offer_is_taken_and_the_host_that_failed_is_listed(world: World, state: Path) -> None:
    world.broken.add("9001")
    world.machines = (7001, 7002)
    code, said = kit.rent(world, "start", "--yes")
    assert code == 0, said
    assert set(world.rented) == {"9002"}
    assert len({path for _, path, _ in world.calls if "/asks/" in path}) == 2
    assert [row["state"] for row in kit.ledger(state)] == ["ended", "rented"]
    (listed,) = kit.document(world, "blacklist")
    assert (listed["platform"], listed["host"]) == ("vast", "7001")
    _, said = kit.rent(world, "blacklist", "--clear", "7001")
    assert "1 host" in said
    assert kit.document(world, "blacklist") == []


def test_at_one_per_cent_of_a_slow_download_the_cheaper_offer_is_taken(world: World, state: Path) -> None:
    world.slow.add("9001")
    world.machines = (7001, 7002)
    code, said = kit.rent(world, "start", "--yes", "--leave-slow")
    assert code == 0, said
    assert "the download takes 333 more minutes here" in said
    assert set(world.rented) == {"9002"}
    assert [row["state"] for row in kit.ledger(state)] == ["ended", "rented"]


def test_a_slow_download_is_told_once_and_the_box_is_kept(world: World) -> None:
    world.slow.add("9001")
    code, said = kit.rent(world, "start", "--yes", "--tries", "1", "--ready-minutes", "0.2")
    assert code == 1
    assert said.count("the download takes 333 more minutes here") == 1
    assert "To take it: kinokit rent stop 9001 --platform vast, then rent again" in said


def test_a_host_on_the_black_list_is_offered_no_more(world: World) -> None:
    for each in world.listings["vast"]:
        each["machine_id"] = 7001 if each["id"] == 11 else 1
    try:
        assert {each["offer"]["id"] for each in kit.document(world, "offers")} >= {"11", "12"}
        world.broken.add("9001")
        kit.rent(world, "start", "--yes", "--offer", "11", "--tries", "1")
        assert "11" not in {each["offer"]["id"] for each in kit.document(world, "offers")}
    finally:
        for each in world.listings["vast"]:
            each.pop("machine_id")


def test_refused_offers_are_counted_and_nothing_is_left(world: World, state: Path) -> None:
    world.create_refused = True
    code, said = kit.rent(world, "start", "--yes", "--tries", "2")
    assert code == 1
    assert "2 offers of Vast.ai failed; nothing is rented now" in said
    assert {row["state"] for row in kit.ledger(state)} == {"ended"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP, signal.SIGTERM])
def test_a_command_that_is_ended_says_what_is_still_rented(
    world: World, state: Path, number: signal.Signals
) -> None:
    world.ready_after = 10**6
    with kit.started(world, "start", "--yes") as command:
        wait_for(lambda: kit.ledger(state)[0]["id"] == "9001")
        command.send_signal(number)
        _, said = command.communicate(timeout=60)
    assert command.returncode == 128 + number
    assert "STILL RENTED, $0.40/h" in said
    assert "kinokit rent stop 9001 --platform vast" in said
    assert world.rented
    assert kit.ledger(state)[0]["state"] == "rented"


def test_a_command_that_is_ended_before_its_order_says_only_that(world: World) -> None:
    world.faults = ["slow"]
    with kit.started(world, "start", "--yes") as command:
        wait_for(lambda: world.calls)
        command.send_signal(signal.SIGTERM)
        _, said = command.communicate(timeout=60)
    assert command.returncode == 143
    assert "error: ended by SIGTERM" in said
    assert "Traceback" not in said


def test_a_signal_waits_for_the_answer_to_an_order(world: World, state: Path) -> None:
    world.create_lost = "slow"
    with kit.started(world, "start", "--yes") as command:
        wait_for(lambda: world.rented)
        command.send_signal(signal.SIGINT)
        assert command.stdout is not None
        wait_for(lambda: "answer is waited for" in str(command.stdout and command.stdout.readline()))
        world.woken.set()
        _, said = command.communicate(timeout=60)
    assert command.returncode == 130
    assert "STILL RENTED, $0.40/h: box 9001" in said
    assert kit.ledger(state)[0]["id"] == "9001"


def test_a_box_whose_command_was_killed_amid_its_order_is_found_by_its_label(
    world: World, state: Path
) -> None:
    world.create_lost = "slow"
    with kit.started(world, "start", "--yes") as command:
        wait_for(lambda: world.rented)
        command.kill()
    assert kit.ledger(state)[0]["id"] is None
    world.create_lost = ""
    (box,) = kit.document(world, "list")["boxes"]
    assert (box["id"], box["note"]) == ("9001", "found again")
    assert kit.ledger(state)[0]["id"] == "9001"
    code, said = kit.rent(world, "stop", "9001", "--yes")
    assert code == 0, said
    assert world.rented == {}
    assert kit.ledger(state)[0]["state"] == "ended"


def test_the_next_start_tells_of_what_is_rented_already(world: World) -> None:
    kit.rent(world, "start", "--yes")
    _, said = kit.rent(world, "start", answer="n\n")
    assert "already rented: vast  9001" in said


def test_the_list_says_what_is_gone_and_what_cannot_be_asked_after(world: World, state: Path) -> None:
    kit.rent(world, "start", "--yes")
    world.down = True
    code, said = kit.rent(world, "list")
    assert code == 1
    assert "9001 may still be rented" in said
    code, said = kit.rent(world, "list", VAST_API_KEY="")
    assert code == 1
    assert "VAST_API_KEY is not set: 9001 may still be rented" in said
    world.down = False
    world.rented.clear()
    code, said = kit.rent(world, "list")
    assert code == 0
    assert "9001" in said
    assert "gone" in said
    assert kit.ledger(state)[0]["state"] == "ended"


def test_a_list_that_hiccups_loses_nothing(world: World, state: Path) -> None:
    kit.rent(world, "start", "--yes")
    world.forgets = 1
    kit.rent(world, "list")
    (box,) = kit.document(world, "list")["boxes"]
    assert box["listed"]
    assert kit.ledger(state)[0]["state"] == "rented"


def test_no_secret_is_listed_unless_it_is_asked_for(world: World, state: Path) -> None:
    kit.rent(world, "start", "--yes")
    token = kit.ledger(state)[0]["token"]
    assert token not in str(kit.document(world, "list"))
    assert token not in kit.rent(world, "list")[1]
    assert f"?token={token}" in kit.rent(world, "list", "--links")[1]


@pytest.mark.parametrize("id", ["1", "424242"])
def test_what_the_kit_did_not_rent_is_not_ended(world: World, id: str) -> None:
    code, said = kit.rent(world, "stop", id, "--yes")
    assert code == 1
    assert f"no rental {id} of the kit" in said
    assert not [call for call in world.calls if call[0] == "DELETE"]


def test_nothing_is_ended_without_a_yes(world: World) -> None:
    kit.rent(world, "start", "--yes")
    for answer in ("n\n", ""):
        code, said = kit.rent(world, "stop", "9001", answer=answer)
        assert code == 1
        assert "was not ended" in said
    assert world.rented


def test_an_end_that_cannot_be_asked_for_says_so(world: World) -> None:
    kit.rent(world, "start", "--yes")
    world.down = True
    code, said = kit.rent(world, "stop", "9001", "--yes")
    assert code == 1
    assert "STILL RENTED, $0.40/h" in said


def test_a_box_is_stopped_kept_and_started_again(world: World, state: Path) -> None:
    kit.rent(world, "start", "--yes")
    code, said = kit.rent(world, "stop", "9001", "--keep")
    assert code == 0, said
    assert "its disk still costs" in said
    assert kit.ledger(state)[0]["state"] == "stopped"
    _, said = kit.rent(world, "start", answer="n\nn\n")
    assert "stopped box 9001" in said
    code, said = kit.rent(world, "start", "--yes", "--reuse")
    assert code == 0, said
    assert "?token=" in said
    assert len(orders(world)) == 1
    assert kit.ledger(state)[0]["state"] == "rented"


def test_a_clore_order_that_nobody_answered_is_found_again(world: World, state: Path) -> None:
    """Clore's orders have no label: the server and the hour in the ledger find it."""
    account = {"CLORE_API_KEY": world.key, "CLORE_API_KEY_ADDRESS": world.url}
    world.gives_variables_back = False
    manifest = reading.load("wan22")
    order = Order(manifest=manifest, profile=manifest.profiles[-1])
    market = registry.market("clore")(world.key, world.url, sleep=lambda _: None)
    rental = market.create(market.offers(order.profile.needs, order.disk_gb)[0], order)
    Ledger(state).add(
        Entry(
            label=order.label,
            platform="clore",
            model="wan22",
            dollars_per_hour=0.42,
            ordered_at=rental.created_at or 0,
            host=rental.host_id,
        )
    )
    _, said = kit.rent(world, "list", "--platform", "clore", **account)
    assert order.label in said
    (row,) = kit.ledger(state)
    assert (row["id"], row["state"]) == (rental.id, "rented")
    code, said = kit.rent(world, "stop", rental.id, "--platform", "clore", "--yes", **account)
    assert code == 0, said
    assert world.rented == {}


@pytest.mark.parametrize("platform", registry.named("market"))
def test_an_offers_id_is_shown_whole_and_can_be_typed(world: World, platform: str) -> None:
    name = platform.upper()
    account = {f"{name}_API_KEY": world.key, f"{name}_API_KEY_ADDRESS": world.url}
    _, said = kit.rent(world, "offers", "--platform", platform, **account)
    id = said.splitlines()[1].split(" ", 1)[0]
    _, said = kit.rent(world, "start", "--platform", platform, "--offer", id, answer="n\n", **account)
    assert "Rent it for $" in said
    assert id in said
