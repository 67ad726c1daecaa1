"""How long a clip takes: a card's speed, its slice, and the way from host memory to it."""

from __future__ import annotations

import pytest

from bootstrap.choose import clip_time, reading
from bootstrap.choose.clip_time import ClipTime
from bootstrap.choose.manifest import Manifest, Profile
from bootstrap.detect.machine import GIB, Gpu, PcieLink


def named(name: str, model: str = "wan22") -> tuple[Manifest, Profile]:
    manifest = reading.load(model)
    return manifest, next(profile for profile in manifest.profiles if profile.name == name)


def timed(profile: str, card: str, *, rate: float | None = None, share: float | None = 1.0) -> ClipTime:
    manifest, chosen = named(profile)
    found = clip_time.estimate(manifest, chosen, card, pcie_bytes_per_second=rate, compute_share=share)
    assert found is not None
    return found


def test_on_a_riser_of_one_lane_a_streamed_clip_waits_for_its_weights() -> None:
    """77 s of transfers, of which a part hides behind 34 s of computing; the text encoder adds 8 s."""
    riser = timed("stream", "NVIDIA GeForce RTX 4090", rate=PcieLink(3, 1).bytes_per_second)
    assert riser.computing_seconds == pytest.approx(33.5, abs=0.1)
    assert riser.seconds == pytest.approx(88.2, abs=0.5)
    assert not riser.is_measured


def test_a_whole_slot_hides_the_streaming() -> None:
    slot = timed("stream", "NVIDIA GeForce RTX 4090", rate=PcieLink(4, 16).bytes_per_second)
    assert slot.link_seconds < 0.3
    assert timed("stream", "NVIDIA GeForce RTX 4090").link_seconds == 0  # not known: not guessed


def test_what_stays_on_the_card_does_not_cross_the_link() -> None:
    full = timed("full", "NVIDIA H200", rate=PcieLink(3, 1).bytes_per_second)
    assert full.link_seconds == 0
    assert full.is_measured


def test_cards_without_fp8_products_take_the_time_of_exact_ones() -> None:
    assert timed("full-exact", "NVIDIA A100-SXM4-80GB").seconds == pytest.approx(62.5)


def test_a_slice_computes_by_its_share_and_is_a_prediction() -> None:
    whole, slice_ = timed("stream", "NVIDIA H100"), timed("stream", "NVIDIA H100", share=1 / 7)
    assert slice_.seconds == pytest.approx(7 * whole.seconds)
    assert whole.is_measured
    assert not slice_.is_measured


def test_what_nobody_knows_is_not_known() -> None:
    manifest, stream = named("stream")
    assert clip_time.estimate(manifest, stream, "a card of tomorrow") is None
    assert clip_time.estimate(manifest, stream, "NVIDIA H100", compute_share=None) is None
    unmeasured, full = named("full", "wan22-5b")
    assert clip_time.estimate(unmeasured, full, "NVIDIA H200") is None


def test_of_mixed_cards_the_slower_one_counts() -> None:
    manifest, stream = named("stream")
    cards = [
        Gpu("0", name, 24 * GIB, 24 * GIB, (8, 9), pcie=link)
        for name, link in (("RTX 5090", PcieLink(5, 16)), ("RTX 4090", PcieLink(4, 16)))
    ]
    found = clip_time.slowest(manifest, stream, cards)
    assert found is not None
    assert found[0].name == "RTX 4090"
    unknown = Gpu("2", "a card of tomorrow", 24 * GIB, 24 * GIB, (13, 0))
    assert clip_time.slowest(manifest, stream, [*cards, unknown]) is None


@pytest.mark.parametrize(
    ("vram_gib", "capability", "name"),
    [
        (24, 8.9, "stream"),
        (24, 8.6, "stream-exact"),
        (80, 9.0, "full"),
        (80, 8.0, "full-exact"),
        (4, 8.9, None),
    ],
)
def test_a_card_of_a_list_gets_the_profile_that_it_would_get(
    vram_gib: float, capability: float, name: str | None
) -> None:
    found = clip_time.profile_of_card(reading.load("wan22"), vram_gib=vram_gib, compute_capability=capability)
    assert (found.name if found else None) == name


@pytest.mark.parametrize("model", ["svd", "svd-xt", "svd-xt-1-1", "wan22", "wan22-i2v", "wan22-5b"])
def test_a_shipped_profile_that_moves_weights_says_how_many(model: str) -> None:
    for profile in reading.load(model).profiles:
        moves = {"stream", "swap", "model"} & set(map(str, profile.settings.values()))
        assert not moves or profile.transfer, profile.name
