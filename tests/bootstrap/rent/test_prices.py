"""What an hour costs is the whole of it, in dollars, and filters mean what they say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from bootstrap.choose import reading
from bootstrap.choose.manifest import Needs
from bootstrap.platforms import registry
from bootstrap.platforms.market import Filters, Market, MarketError, Offer
from bootstrap.platforms.offer import pcie_rate
from bootstrap.rent import cost
from tests.bootstrap.rent import marketplaces
from tests.bootstrap.rent.marketplaces import World

NEEDS = Needs(vram_gib=20, ram_gib=24)
DISK_GB = 72
VAST = {
    "id": 21,
    "gpu_name": "RTX 4090",
    "num_gpus": 1,
    "gpu_frac": 1.0,
    "gpu_ram": 24564,
    "compute_cap": 890,
    "cuda_max_good": 13.0,
    "driver_version": "580.95.05",
    "dph_base": 0.40,
    "dph_total": 0.45,
    "storage_cost": 0.50,
    "storage_total_cost": 0.05,
    "inet_down": 800.0,
    "inet_up": 400.0,
    "inet_down_cost": 0.002,
    "inet_up_cost": 0.02,
    "disk_space": 300.0,
    "disk_bw": 2000.0,
    "reliability2": 0.99,
    "cpu_ram": 131072,
    "cpu_cores_effective": 16.0,
    "pcie_bw": 24.0,
    "pci_gen": 4.0,
    "gpu_lanes": 16,
    "direct_port_count": 40,
    "geolocation": "Sweden, SE",
    "verification": "verified",
    "machine_id": 7001,
    "min_bid": 0.2,
}
RUNPOD = {
    "id": "NVIDIA RTX 6000 Ada Generation",
    "displayName": "RTX 6000 Ada",
    "memoryInGb": 48,
    "secure": {"uninterruptablePrice": 0.77, "minimumBidPrice": 0.4, "minMemory": 50, "stockStatus": "High"},
    "community": {
        "uninterruptablePrice": 0.59,
        "minimumBidPrice": 0.3,
        "minMemory": 50,
        "stockStatus": "Low",
    },
}
CLORE = {
    "id": 601,
    "rented": False,
    "cuda_version": "13.0",
    "reliability": 0.99,
    "specs": {
        "gpu": "1x NVIDIA GeForce RTX 4090",
        "gpuram": 24,
        "ram": 128.0,
        "disk": "NVMe 800.0GB",
        "disk_speed": 1500.0,
        "pcie_rev": 3,
        "pcie_width": 1,
        "net": {"up": 500.0, "down": 900.0, "cc": "DE"},
    },
}
# 1000 CLORE a day are 9.6 dollars, and 0.0001 bitcoin, too.
IN_COINS = {
    "on_demand": {"CLORE-Blockchain": 1000.0, "bitcoin": 0.0001},
    "usd": {"on_demand_clore": 9.6, "on_demand_btc": 9.6},
    "spot": {"CLORE-Blockchain": 500.0},
}


@pytest.fixture
def world() -> Iterator[World]:
    with marketplaces.serve() as running:
        yield running


def client(world: World, platform: str) -> Market:
    return registry.market(platform)(world.key, world.url, sleep=lambda _: None)


def offers(world: World, platform: str, listed: list[dict[str, Any]], **filters: Any) -> list[Offer]:
    world.listings[platform] = listed
    return client(world, platform).offers(NEEDS, DISK_GB, Filters(**filters))


def test_vasts_hour_has_the_disk_that_is_ordered(world: World) -> None:
    (offer,) = offers(world, "vast", [VAST])
    # 72 GB at 0.50 a month are 0.05 an hour.
    assert offer.dollars_per_hour == pytest.approx(0.40 + 0.05)
    assert offer.stopped_dollars_per_hour == pytest.approx(0.05)
    assert offer.listed_dollars_per_hour == pytest.approx(0.45)
    assert (offer.dollars_per_gb_down, offer.dollars_per_gb_up) == (0.002, 0.02)


def test_the_disk_counts_for_the_limit(world: World) -> None:
    dear_disk = {**VAST, "storage_cost": 5.0}
    assert offers(world, "vast", [dear_disk], max_dollars_per_hour=0.5) == []
    assert offers(world, "vast", [VAST], max_dollars_per_hour=0.5)


def test_a_disk_that_is_in_the_total_already_is_not_counted_twice(world: World) -> None:
    without_base = {name: value for name, value in VAST.items() if name != "dph_base"}
    (offer,) = offers(world, "vast", [without_base])
    assert offer.dollars_per_hour == pytest.approx(0.45)


def test_vasts_ram_is_the_offers_share_of_the_hosts(world: World) -> None:
    one_of_eight = {**VAST, "gpu_frac": 0.125}
    (offer,) = offers(world, "vast", [VAST])
    assert (offer.ram_gib, offer.cpus, offer.gpu_share) == (128, 16.0, 1.0)
    assert offers(world, "vast", [one_of_eight]) == []  # 16 of its 128 GiB
    (enough,) = offers(world, "vast", [{**one_of_eight, "cpu_ram": 1048576}])
    assert enough.ram_gib == 128


def test_what_vast_is_asked_is_what_its_document_names(world: World) -> None:
    offers(
        world,
        "vast",
        [VAST],
        regions=("SE", "DE"),
        min_pcie_gb_per_second=10.0,
        min_disk_mb_per_second=300.0,
        min_cuda=12.6,
    )
    ((method, path, asked),) = world.calls
    assert (method, path) == ("POST", "/api/v0/bundles/")
    assert asked["type"] == "ondemand"
    assert asked["allocated_storage"] == DISK_GB
    assert asked["num_gpus"] == {"eq": 1}
    assert asked["geolocation"] == {"in": ["SE", "DE"]}
    assert asked["pcie_bw"] == {"gte": 10.0}
    assert asked["disk_bw"] == {"gte": 300.0}
    assert asked["cuda_max_good"] == {"gte": 12.6}
    assert asked["inet_down"] == {"gte": 200.0}


def test_vasts_older_question_is_the_same_one(world: World) -> None:
    world.old_api = True
    (offer,) = offers(world, "vast", [VAST])
    assert offer.id == "21"
    assert [method for method, _, _ in world.calls] == ["POST", "GET"]


@pytest.mark.parametrize("damaged", [{}, {"id": 1}, {**VAST, "gpu_ram": None}, {**VAST, "dph_total": "n/a"}])
def test_an_offer_that_cannot_be_read_does_not_hide_the_others(world: World, damaged: dict[str, Any]) -> None:
    assert [each.id for each in offers(world, "vast", [damaged, VAST])] == ["21"]


@pytest.mark.parametrize(
    "damaged", [{}, {"id": "x"}, {**RUNPOD, "memoryInGb": None}, {**RUNPOD, "secure": 7, "community": None}]
)
def test_a_gpu_type_that_cannot_be_read_does_not_hide_the_others(
    world: World, damaged: dict[str, Any]
) -> None:
    assert len(offers(world, "runpod", [damaged, RUNPOD])) == 2


@pytest.mark.parametrize(
    "damaged", [{}, {"id": 1, "specs": None}, {**CLORE, "price": 7}, {**CLORE, "id": None}]
)
def test_a_server_that_cannot_be_read_hides_no_other(world: World, damaged: dict[str, Any]) -> None:
    sound = {**CLORE, "price": {"usd": {"on_demand_usd": 9.6}}}
    assert [each.id for each in offers(world, "clore", [damaged, sound])] == ["601"]


def test_vast_offers_what_can_be_bid_for(world: World) -> None:
    (offer,) = offers(world, "vast", [VAST], interruptible=True)
    assert offer.interruptible
    assert offer.min_bid_dollars_per_hour == 0.2
    assert 0.2 < offer.terms["price"] < 0.4
    assert offer.dollars_per_hour == pytest.approx(offer.terms["price"] + 0.05)
    ((_, _, asked),) = world.calls
    assert asked["type"] == "bid"


def test_runpods_clouds_are_two_offers_with_the_price_of_each(world: World) -> None:
    secure, community = offers(world, "runpod", [RUNPOD])
    disk = (DISK_GB + 20) * 0.10 / 720
    assert secure.dollars_per_hour == pytest.approx(0.77 + disk)
    assert community.dollars_per_hour == pytest.approx(0.59 + disk)
    assert (secure.terms["cloudType"], community.terms["cloudType"]) == ("SECURE", "COMMUNITY")
    assert (secure.id, community.id) == ("rtx-6000-ada:secure", "rtx-6000-ada:community")
    assert secure.terms["gpuTypeIds"] == [RUNPOD["id"]]
    ((_, _, asked),) = world.calls
    assert "secureCloud: true" in asked["query"]
    assert "secureCloud: false" in asked["query"]


@pytest.mark.parametrize("stock", [None, "None", ""])
def test_no_stock_is_no_offer(world: World, stock: str | None) -> None:
    out = {**RUNPOD, "secure": {"uninterruptablePrice": 0.77, "minMemory": 50, "stockStatus": stock}}
    (only,) = offers(world, "runpod", [out])
    assert only.terms["cloudType"] == "COMMUNITY"


def test_what_runpod_does_not_list_its_order_demands(world: World) -> None:
    found = offers(
        world, "runpod", [RUNPOD], regions=("SE",), min_down_mbps=700.0, min_disk_mb_per_second=900.0
    )
    assert all(each.terms["countryCodes"] == ["SE"] for each in found)
    assert all(each.terms["minDownloadMbps"] == each.down_mbps == 700 for each in found)
    assert all(each.terms["minDiskBandwidthMBps"] == 900 for each in found)


def test_runpods_price_of_several_gpus_is_of_all(world: World) -> None:
    secure, _ = offers(world, "runpod", [RUNPOD], gpus=2)
    assert secure.gpus == 2
    assert secure.listed_dollars_per_hour == pytest.approx(1.54)
    ((_, _, asked),) = world.calls
    assert "gpuCount: 2" in asked["query"]


def test_runpods_interruptible_price_is_the_bid(world: World) -> None:
    secure, community = offers(world, "runpod", [RUNPOD], interruptible=True)
    assert (secure.listed_dollars_per_hour, community.listed_dollars_per_hour) == (0.4, 0.3)
    assert secure.terms["interruptible"] is True


def test_an_error_inside_of_runpods_200_is_said(world: World) -> None:
    world.answers_all = ({"data": None, "errors": [{"message": "Something went wrong"}]},)
    with pytest.raises(MarketError, match="Something went wrong"):
        client(world, "runpod").offers(NEEDS, DISK_GB)


def test_a_server_priced_in_coins_is_offered_in_dollars_with_the_fee(world: World) -> None:
    (offer,) = offers(world, "clore", [{**CLORE, "price": IN_COINS}])
    assert offer.listed_dollars_per_hour == pytest.approx(0.40)
    assert offer.dollars_per_hour == pytest.approx(0.42)
    assert offer.terms == {"currency": "CLORE-Blockchain", "required_price": 1000.0}


def test_an_order_pays_with_what_the_account_holds(world: World) -> None:
    world.wallets = ("bitcoin",)
    (offer,) = offers(world, "clore", [{**CLORE, "price": IN_COINS}])
    assert offer.terms == {"currency": "bitcoin", "required_price": 0.0001}


def test_a_currency_that_the_host_does_not_take_is_not_paid(world: World) -> None:
    server = {**CLORE, "price": IN_COINS, "allowed_coins": ["bitcoin"]}
    (offer,) = offers(world, "clore", [server])
    assert offer.terms["currency"] == "bitcoin"


def test_a_rate_comes_from_the_other_servers(world: World) -> None:
    only_coins = {**CLORE, "id": 602, "price": {"on_demand": {"CLORE-Blockchain": 2000.0}}}
    found = offers(world, "clore", [{**CLORE, "price": IN_COINS}, only_coins])
    assert found[1].listed_dollars_per_hour == pytest.approx(0.80)


def test_servers_without_a_rate_are_left_out_with_a_word(world: World) -> None:
    world.listings["clore"] = [
        {**CLORE, "price": {"on_demand": {"CLORE-Blockchain": 2000.0}}},
        {**CLORE, "id": 603, "price": {"usd": {"on_demand_usd": 9.6}}},
    ]
    market = client(world, "clore")
    assert [each.id for each in market.offers(NEEDS, DISK_GB)] == ["603"]
    assert market.notes == ["1 servers have prices without a rate in dollars; they are left out"]


def test_clores_spot_market_is_bid_for(world: World) -> None:
    (offer,) = offers(world, "clore", [{**CLORE, "price": IN_COINS}], interruptible=True)
    assert offer.terms == {"type": "spot", "currency": "CLORE-Blockchain", "spotprice": 500.0}
    assert offer.dollars_per_hour == pytest.approx(0.20 * 1.0125)


def test_a_riser_of_a_mining_rig_is_seen(world: World) -> None:
    (offer,) = offers(world, "clore", [{**CLORE, "price": IN_COINS}])
    assert (offer.pcie_gen, offer.pcie_lanes) == (3, 1)
    assert offer.pcie_gb_per_second == pcie_rate(3, 1)
    assert offer.pcie_gb_per_second is not None
    assert offer.pcie_gb_per_second < 1
    assert offers(world, "clore", [{**CLORE, "price": IN_COINS}], min_pcie_gb_per_second=4.0) == []


@pytest.mark.parametrize(
    ("filters", "left"),
    [
        ({"regions": ("DE",)}, False),
        ({"regions": ("SE", "DE")}, True),
        ({"min_pcie_gb_per_second": 25.0}, False),
        ({"min_down_mbps": 900.0}, False),
        ({"min_down_mbps": None}, True),
        ({"min_disk_mb_per_second": 2500.0}, False),
        ({"min_reliability": 0.995}, False),
        ({"gpus": 2}, False),
        ({"gpus": None}, True),
        ({"min_cuda": 13.1}, False),
        ({"min_cuda": 12.4}, True),
        ({"excluded_hosts": frozenset({"7001"})}, False),
        ({"excluded_hosts": frozenset({"7002"})}, True),
        ({"max_dollars_per_hour": 0.44}, False),
    ],
)
def test_a_filter_keeps_out_what_it_names_though_the_marketplace_does_not(
    world: World, filters: dict[str, Any], left: bool
) -> None:
    """The fake marketplace filters nothing: what comes must pass here as well."""
    assert bool(offers(world, "vast", [VAST], **filters)) is left


def test_a_host_that_is_not_verified_is_offered_only_when_asked(world: World) -> None:
    unverified = {**VAST, "verification": "unverified"}
    assert offers(world, "vast", [unverified]) == []
    assert offers(world, "vast", [unverified], verified=False)


@pytest.mark.parametrize("gpu", ["Tesla V100-SXM2-32GB", "AMD Instinct MI300X OAM"])
def test_a_card_that_no_box_could_use_is_not_offered(world: World, gpu: str) -> None:
    """Marketplaces that give names alone: it would show at the boot, when an hour is begun."""
    fp8 = Needs(vram_gib=20, ram_gib=24, compute_capability=8.9)
    world.listings["runpod"] = [{**RUNPOD, "id": gpu, "displayName": gpu}, RUNPOD]
    found = client(world, "runpod").offers(fp8, DISK_GB)
    assert {each.gpu for each in found} == {"RTX 6000 Ada"}
    server = {**CLORE, "price": IN_COINS}
    named = {**server, "id": 604, "specs": {**server["specs"], "gpu": f"1x {gpu}"}}  # type: ignore[dict-item]
    world.listings["clore"] = [named, server]
    assert [each.id for each in client(world, "clore").offers(fp8, DISK_GB)] == ["601"]


def test_runpods_order_demands_the_cuda_that_is_asked_for(world: World) -> None:
    found = offers(world, "runpod", [RUNPOD], min_cuda=12.8)
    assert all(each.terms["allowedCudaVersions"] == ["12.8", "12.9", "13.0"] for each in found)


def test_a_clip_costs_its_way_to_the_viewer(world: World) -> None:
    (offer,) = offers(world, "vast", [VAST])
    manifest = reading.load("wan22")
    dear, free = (
        cost.estimate(replace(offer, dollars_per_gb_up=price), manifest, clips=20) for price in (1.0, 0.0)
    )
    assert dear.dollars_per_clip is not None
    assert free.dollars_per_clip is not None
    assert dear.dollars_per_clip - free.dollars_per_clip == pytest.approx(dear.upload_dollars)
    assert dear.upload_dollars > 0
