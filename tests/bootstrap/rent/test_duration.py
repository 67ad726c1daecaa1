"""What an offer takes in time, and whether another one is cheaper once the download has begun."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bootstrap.choose import reading
from bootstrap.commands.rent.offers import table
from bootstrap.platforms import offer as offers
from bootstrap.platforms.offer import Offer
from bootstrap.rent import cost, duration
from bootstrap.rent.advice import cheaper_elsewhere

WAN = reading.load("wan22")
WHOLE = duration.download_bytes(WAN)
RTX_4090 = Offer("vast", "1", "RTX 4090", 1, 24, 0.40, compute_capability=8.9, down_mbps=800)


def test_a_riser_shows_in_seconds_and_dollars_of_each_clip() -> None:
    slot = cost.estimate(replace(RTX_4090, pcie_gb_per_second=25.6), WAN, 20)
    riser = cost.estimate(replace(RTX_4090, pcie_gb_per_second=0.8), WAN, 20)
    assert slot.clip_seconds == pytest.approx(34, abs=1)
    assert riser.clip_seconds == pytest.approx(88, abs=1)
    assert riser.clip_link_seconds == pytest.approx(55, abs=1)
    assert slot.dollars_per_clip is not None
    assert riser.dollars_per_clip is not None
    assert riser.dollars_per_clip - slot.dollars_per_clip == pytest.approx(54.5 / 3600 * 0.40, rel=0.03)


def test_the_list_of_offers_says_what_a_riser_costs() -> None:
    risers = cost.rank([replace(RTX_4090, pcie_gb_per_second=0.8)], WAN, 20)
    told = "1: 55 s of each clip wait for weights through 0.8 GB/s, $0.006 of it"
    assert told in table(risers, 20)
    slots = cost.rank([replace(RTX_4090, pcie_gb_per_second=25.6)], WAN, 20)
    assert "wait for weights" not in table(slots, 20)


def test_what_a_marketplace_does_not_say_is_usual() -> None:
    assert cost.estimate(RTX_4090, WAN, 20).clip_link_seconds == 0
    silent = replace(RTX_4090, down_mbps=None)
    assert duration.link_bytes_per_second(silent) == pytest.approx(100 * 0.7 * 1e6 / 8)


def test_a_slow_disk_holds_the_download_up() -> None:
    slow = replace(RTX_4090, disk_mb_per_second=20.0)
    assert duration.ready_seconds(slow, WAN) == pytest.approx(240 + WHOLE / 20e6)


def test_a_card_that_holds_the_model_loads_it_through_its_link() -> None:
    h100 = replace(RTX_4090, gpu="H100", vram_gib=80, compute_capability=9.0)
    riser, slot = replace(h100, pcie_gb_per_second=0.8), replace(h100, pcie_gb_per_second=25.6)
    more = duration.ready_seconds(riser, WAN) - duration.ready_seconds(slot, WAN)
    assert more == pytest.approx(WAN.download_bytes / 0.8e9, rel=0.05)
    assert cost.estimate(h100, WAN, 20).is_measured
    assert not cost.estimate(RTX_4090, WAN, 20).is_measured


def test_a_card_without_fp8_products_is_not_promised_their_time() -> None:
    rtx_3090 = replace(RTX_4090, gpu="RTX 3090", compute_capability=8.6)
    assert (cost.estimate(rtx_3090, WAN, 20).clip_seconds or 0) > 250


@pytest.mark.parametrize(
    ("generation", "lanes", "rate"), [(3, 1, 0.8), (4, 16, 25.6), (None, 16, None), (4, None, None)]
)
def test_a_slot_gives_what_a_copy_gets(generation: int | None, lanes: int | None, rate: float | None) -> None:
    assert offers.pcie_rate(generation, lanes) == (rate and pytest.approx(rate))


def test_at_one_per_cent_a_host_of_60_mbit_is_left() -> None:
    """The review's host: 85 minutes for the rest; another offer is there in ten and costs a fifth."""
    advice = cheaper_elsewhere(WHOLE * 0.99, 60e6 / 8, 0.40, [RTX_4090], whole_bytes=WHOLE)
    assert advice is not None
    assert advice.offer is RTX_4090
    assert advice.stay_seconds == pytest.approx(WHOLE * 0.99 / 7.5e6)
    assert advice.move_seconds == pytest.approx(240 + WHOLE / 70e6)
    assert advice.move_dollars == pytest.approx(advice.move_seconds / 3600 * 0.40)
    assert "91 more minutes here, $0.60" in str(advice)


@pytest.mark.parametrize(
    ("remaining", "rate", "price", "other"),
    [
        (WHOLE * 0.99, 70e6, 0.40, RTX_4090),  # as fast here
        (WHOLE * 0.05, 7.5e6, 0.40, RTX_4090),  # almost done: a move starts again
        (WHOLE * 0.99, 7.5e6, 0.40, replace(RTX_4090, dollars_per_hour=4.0)),  # sooner, and dearer
        (WHOLE * 0.99, 7.5e6, 0.40, replace(RTX_4090, dollars_per_gb_down=0.02)),  # its traffic costs
        (WHOLE * 0.99, 7.5e6, 4.00, replace(RTX_4090, down_mbps=50)),  # slower still
        (WHOLE * 0.99, 40e6, 0.10, RTX_4090),  # cents
    ],
)
def test_a_move_that_saves_nothing_is_not_advised(
    remaining: float, rate: float, price: float, other: Offer
) -> None:
    assert cheaper_elsewhere(remaining, rate, price, [other], whole_bytes=WHOLE) is None


def test_of_several_offers_the_cheapest_to_the_end_is_named() -> None:
    fast = replace(RTX_4090, id="2", down_mbps=4000)
    advice = cheaper_elsewhere(WHOLE, 0.0, 0.40, [RTX_4090, fast], whole_bytes=WHOLE)
    assert advice is not None
    assert advice.offer.id == "2"
    assert cheaper_elsewhere(WHOLE, 0.0, 0.40, [], whole_bytes=WHOLE) is None
