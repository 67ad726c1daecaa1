"""Which profile a card gets: real cards, with the memory that their drivers report as free."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import pytest

from bootstrap.choose import reading
from bootstrap.choose.manifest import Limits, Manifest, Needs, Profile, Transfer
from bootstrap.choose.profile import Choice, choose, smaller
from bootstrap.choose.refusal import no_fit
from bootstrap.detect.machine import GIB, Gpu, Machine, PcieLink

MIB = 1024**2

# name: total MiB, free MiB, compute capability
CARDS = {
    "RTX 3070": (8192, 7900, (8, 6)),
    "GTX 1080 Ti": (11264, 11000, (6, 1)),
    "RTX 3060": (12288, 11900, (8, 6)),
    "Tesla T4": (15360, 14900, (7, 5)),
    "RTX 4080": (16376, 15900, (8, 9)),
    "Tesla V100": (16384, 16100, (7, 0)),
    "L4": (23034, 22500, (8, 9)),
    "RTX 3090": (24576, 24000, (8, 6)),
    "RTX 4090": (24564, 24077, (8, 9)),
    "RTX 5090": (32607, 31900, (12, 0)),
    "A100 40GB": (40960, 40300, (8, 0)),
    "L40S": (46068, 45400, (8, 9)),
    "RTX A6000": (49140, 48500, (8, 6)),
    "A100 80GB": (81920, 81000, (8, 0)),
    "H100 80GB": (81559, 80700, (9, 0)),
    "RTX PRO 6000": (97887, 96900, (12, 0)),
    "H200": (143771, 142900, (9, 0)),
}


def profile(
    name: str,
    vram: float,
    ram: float = 8,
    capability: float | None = 8.0,
    gpus: int = 1,
    device: Literal["cuda", "cpu"] = "cuda",
) -> Profile:
    needs = Needs(device=device, gpus=gpus, vram_gib=vram, ram_gib=ram, compute_capability=capability)
    return Profile(name=name, title=name, needs=needs)


# Its own numbers, so that a new measurement in a manifest does not change what is promised here.
WAN = reading.load("wan22").model_copy(
    update={
        "profiles": (
            profile("full", 62, 24, 8.9),
            profile("full-exact", 62, 24),
            profile("resident", 40, 24, 8.9),
            profile("resident-exact", 40, 24),
            profile("swap-large", 28, 44, 8.9),
            profile("swap", 21, 44, 8.9),
            profile("swap-exact", 21, 44),
            profile("stream", 13.5, 44),
            profile("stream-small", 10.5, 44),
        )
    }
)


def gpu(name: str, number: int = 0, free_mib: int | None = None) -> Gpu:
    total, free, capability = CARDS[name]
    return Gpu(f"GPU-{number}", name, total * MIB, (free_mib or free) * MIB, capability)


def machine(*gpus: Gpu, ram: float | None = 128, disk: float | None = 200) -> Machine:
    return Machine(
        gpus=gpus,
        ram_limit_bytes=None if ram is None else int(ram * GIB),
        ram_available_bytes=None if ram is None else int(ram * GIB),
        disk_path="/workspace",
        disk_free_bytes=None if disk is None else int(disk * GIB),
    )


def chosen(choice: Choice) -> str | None:
    return choice.profile.name if choice.profile else None


@pytest.mark.parametrize(
    ("card", "name"),
    [
        ("RTX 3070", None),
        ("GTX 1080 Ti", None),  # the memory would do, the card is too old
        ("RTX 3060", "stream-small"),
        ("Tesla T4", None),
        ("RTX 4080", "stream"),
        ("Tesla V100", None),
        ("L4", "swap"),
        ("RTX 3090", "swap-exact"),
        ("RTX 4090", "swap"),
        ("RTX 5090", "swap-large"),
        ("A100 40GB", "swap-exact"),  # 39.4 GiB are free, 40 are needed
        ("L40S", "resident"),
        ("RTX A6000", "resident-exact"),
        ("A100 80GB", "full-exact"),
        ("H100 80GB", "full"),
        ("RTX PRO 6000", "full"),
        ("H200", "full"),
    ],
)
def test_each_card_gets_the_best_profile_that_fits(card: str, name: str | None) -> None:
    choice = choose(WAN, machine(gpu(card)))
    assert chosen(choice) == name
    assert [[each.uuid for each in group] for group in choice.gpu_groups] == ([["GPU-0"]] if name else [])


def test_free_memory_counts_and_not_the_cards_name() -> None:
    assert chosen(choose(WAN, machine(gpu("H200", free_mib=30_000)))) == "swap-large"


def test_a_mig_slice_is_judged_by_its_own_memory() -> None:
    part = Gpu(
        "MIG-1", "NVIDIA H100 80GB HBM3 MIG 3g.40gb", 40_448 * MIB, 40_300 * MIB, (9, 0), is_mig_slice=True
    )
    choice = choose(WAN, machine(part))
    assert chosen(choice) == "swap-large"
    assert choice.gpu_groups[0][0].uuid == "MIG-1"


@pytest.mark.parametrize(("memory_gib", "name"), [(119, "full"), (80, "resident"), (40, None)])
def test_a_gpu_that_shares_the_hosts_memory_holds_both_parts(memory_gib: float, name: str | None) -> None:
    size = int(memory_gib * GIB)
    shared = Gpu("GPU-0", "NVIDIA GB10", size, size, (12, 1), shares_host_memory=True)
    choice = choose(WAN, machine(shared, ram=memory_gib))
    assert (choice.profile.name if choice.profile else None) == name
    assert "of what it shares with the host" in choice.verdicts[0].reasons[0]


def test_an_unknown_card_is_judged_by_its_numbers() -> None:
    unknown = Gpu("GPU-9", "NVIDIA of next year", 64 * GIB, 63 * GIB, (13, 0))
    assert chosen(choose(WAN, machine(unknown))) == "full"


def test_an_unknown_compute_capability_gets_the_benefit_of_the_doubt() -> None:
    silent = Gpu("GPU-0", "silent", 80 * GIB, 79 * GIB, None)
    choice = choose(WAN, machine(silent))
    assert chosen(choice) == "full"
    assert "compute capability not known" in choice.verdicts[0].reasons[0]


def test_two_gpus_are_two_workers() -> None:
    choice = choose(WAN, machine(gpu("RTX 4090", 0), gpu("RTX 4090", 1)))
    assert [[each.uuid for each in group] for group in choice.gpu_groups] == [["GPU-0"], ["GPU-1"]]


def test_of_two_different_gpus_those_work_that_fit_the_best_profile() -> None:
    choice = choose(WAN, machine(gpu("RTX 3060", 0), gpu("H100 80GB", 1)))
    assert chosen(choice) == "full"
    assert [[each.uuid for each in group] for group in choice.gpu_groups] == [["GPU-1"]]


def test_a_busy_gpu_is_left_out() -> None:
    choice = choose(WAN, machine(gpu("RTX 4090", 0, free_mib=500), gpu("RTX 4090", 1)))
    assert [[each.uuid for each in group] for group in choice.gpu_groups] == [["GPU-1"]]


def test_host_memory_limits_the_number_of_workers() -> None:
    gpus = [gpu("RTX 4090", number) for number in range(4)]
    assert len(choose(WAN, machine(*gpus, ram=100)).gpu_groups) == 2


def test_one_of_eight_cards_of_a_host_is_refused_with_its_share() -> None:
    """64 GiB for eight renters: 28.5 GiB pinned by one of them would end them all."""
    shared = replace(machine(gpu("RTX 4090"), ram=8), gpus_of_host=8, granted_share=1 / 8)
    choice = choose(WAN, shared)
    assert choice.profile is None
    assert (
        "8.0 GiB of host memory (the share of 1 of the host's 8 GPUs), needs 44" in choice.verdicts[5].reasons
    )
    error = no_fit(WAN, choice, shared, runs_here=["demo"])
    assert "GiB of host memory; 8 GiB are free here (the share of 1 of the host's 8 GPUs)" in error.problem


def test_gpus_that_stay_idle_for_want_of_host_memory_are_explained() -> None:
    choice = choose(WAN, machine(*(gpu("H100 80GB", number) for number in range(8)), ram=96))
    assert choice.idle_gpus == "host memory is enough for 4 of 8 workers: each needs 24 GiB of 96.0"
    assert choose(WAN, machine(gpu("H100 80GB"), gpu("H100 80GB", 1), ram=96)).idle_gpus is None


STREAM = Transfer(streamed_gb=61.2, hidden_share=0.9)
SWAP = Transfer(streamed_gb=30.6, hidden_share=0.45)


@pytest.mark.parametrize(
    ("link", "name"),
    [
        (PcieLink(5, 16), "stream"),
        (PcieLink(4, 4), "stream"),  # 9.6 s a clip are hidden behind 33 s of computing
        (PcieLink(3, 1), "swap"),
        (PcieLink(1, 1), "exact"),
        (None, "stream"),
    ],
)
def test_a_slow_link_makes_another_profile_the_best_one(link: PcieLink | None, name: str) -> None:
    profiles = (
        profile("stream", 20).model_copy(update={"transfer": STREAM}),
        profile("swap", 21).model_copy(update={"transfer": SWAP}),
        profile("exact", 22).model_copy(update={"clip_seconds": 20.0}),
    )
    card = replace(gpu("RTX 4090"), pcie=link)
    choice = choose(WAN.model_copy(update={"profiles": profiles}), machine(card))
    assert chosen(choice) == name
    assert (choice.passed_over is not None) == (name != "stream")
    if link == PcieLink(3, 1):
        assert choice.passed_over is not None
        assert "PCIe 3 x1" in choice.passed_over


def test_a_slow_link_never_buys_smaller_clips() -> None:
    less = Limits(max_pixels=399360)
    small = {"defaults": {"size": "640x352"}, "clip_seconds": 3.0}
    profiles = (
        profile("stream", 20).model_copy(update={"transfer": STREAM}),
        profile("limited", 21).model_copy(update={"limits": less}),
        profile("small", 22).model_copy(update=small),
    )
    card = replace(gpu("RTX 4090"), pcie=PcieLink(1, 1))
    assert chosen(choose(WAN.model_copy(update={"profiles": profiles}), machine(card))) == "stream"


def test_host_memory_vetoes_a_profile_and_a_hungrier_card_setup_is_skipped() -> None:
    assert chosen(choose(WAN, machine(gpu("RTX 4090"), ram=32))) is None
    assert chosen(choose(WAN, machine(gpu("L40S"), ram=32))) == "resident"


def test_a_profile_for_two_gpus_takes_them_in_pairs() -> None:
    pair = WAN.model_copy(update={"profiles": (profile("pair", 20, gpus=2), profile("one", 20))})
    four = [gpu("RTX 4090", number) for number in range(5)]
    assert [len(group) for group in choose(pair, machine(*four)).gpu_groups] == [2, 2]
    assert chosen(choose(pair, machine(four[0]))) == "one"


def test_no_gpu_means_no_profile_and_the_numbers_why() -> None:
    choice = choose(WAN, machine())
    assert chosen(choice) is None
    assert choice.verdicts[-1].lacks == {"gpu"}
    assert choice.verdicts[-1].reasons[0] == "no GPU, needs 10.5 GiB"


def test_a_cpu_profile_needs_no_gpu() -> None:
    small = WAN.model_copy(update={"profiles": (profile("gpu", 2), profile("cpu", 0, 2, None, device="cpu"))})
    assert chosen(choose(small, machine())) == "cpu"
    assert choose(small, machine()).gpu_groups == ()
    assert chosen(choose(small, machine(gpu("RTX 3070")))) == "gpu"


def test_a_full_disk_vetoes_every_profile_before_the_first_byte() -> None:
    choice = choose(WAN, machine(gpu("H100 80GB"), disk=20), download_bytes=38 * 10**9)
    assert chosen(choice) is None
    assert choice.disk_problem is not None
    assert "37.4 GiB" in choice.disk_problem
    assert "20.0 GiB are free" in choice.disk_problem


def test_a_small_disk_is_the_headline_only_where_nothing_else_is_missing() -> None:
    """Who frees some disk must not learn of the missing GPU only then."""

    def told(*gpus: Gpu, ram: float = 128) -> str:
        small = machine(*gpus, ram=ram, disk=20)
        return str(no_fit(WAN, choose(WAN, small, download_bytes=38 * 10**9), small, runs_here=["demo"]))

    disk = "the download needs 37.4 GiB of disk at /workspace"
    bare = told()
    assert bare.splitlines()[0].endswith("this machine has no usable GPU")
    assert f"disk         {disk}" in bare
    fits_but_for_the_disk = told(gpu("H100 80GB"))
    assert fits_but_for_the_disk.splitlines()[0].startswith(f"{WAN.name}: {disk}")
    assert fits_but_for_the_disk.count(disk) == 1
    assert told(gpu("H100 80GB"), ram=30).splitlines()[0].startswith(f"{WAN.name}: {disk}")


def test_a_full_disk_does_not_matter_when_the_model_is_there() -> None:
    assert chosen(choose(WAN, machine(gpu("H100 80GB"), disk=0.1), download_bytes=0)) == "full"


def test_what_is_not_known_does_not_veto() -> None:
    assert chosen(choose(WAN, machine(gpu("RTX 4090"), ram=None, disk=None), download_bytes=10**12)) == "swap"


def test_one_profile_can_be_asked_for() -> None:
    choice = choose(WAN, machine(gpu("H200")), profile="stream")
    assert chosen(choice) == "stream"
    assert len(choice.verdicts) == 1


@pytest.mark.parametrize("name", ["svd", "svd-xt", "svd-xt-1-1", "wan22", "wan22-i2v", "wan22-5b"])
@pytest.mark.parametrize("card", ["RTX 4090", "L40S", "H100 80GB", "H200"])
def test_every_shipped_model_runs_on_the_cards_that_people_rent(name: str, card: str) -> None:
    assert choose(reading.load(name), machine(gpu(card))).profile is not None


@pytest.mark.parametrize("name", ["svd", "svd-xt", "svd-xt-1-1", "wan22", "wan22-i2v", "wan22-5b"])
def test_shipped_profiles_stand_best_first(name: str) -> None:
    """A later profile that asks for as much as an earlier one could never be taken."""
    shipped: Manifest = reading.load(name)
    for place, later in enumerate(shipped.profiles):
        for earlier in shipped.profiles[:place]:
            assert not _asks_for_no_more(earlier.needs, later.needs), (
                f"{later.name} stands behind {earlier.name}"
            )


def _asks_for_no_more(one: Needs, other: Needs) -> bool:
    return (
        one.device == other.device
        and one.gpus <= other.gpus
        and one.vram_gib <= other.vram_gib
        and one.ram_gib <= other.ram_gib
        and (one.compute_capability or 0) <= (other.compute_capability or 0)
    )


def test_limits_of_a_profile_are_whole_limits() -> None:
    for name in ("wan22", "wan22-i2v", "wan22-5b", "svd", "svd-xt", "svd-xt-1-1"):
        shipped = reading.load(name)
        for each in shipped.profiles:
            limits: Limits = each.limits or shipped.limits
            assert limits.size_multiple == shipped.limits.size_multiple, f"{name} {each.name}"
            assert limits.frame_step == shipped.limits.frame_step, f"{name} {each.name}"


@pytest.mark.parametrize(
    ("model", "profile", "expected"),
    [
        ("wan22", "full", "resident"),  # not full-exact, which needs as much
        ("wan22", "full-exact", "resident-exact"),  # not what an A100 cannot do
        ("wan22", "resident", "swap-long"),
        ("wan22", "stream-lean", "stream-small"),
        ("wan22", "stream-small", None),
        ("wan22-5b", "full", "resident"),
        ("demo-wan", "cpu", None),
        ("wan22", "no-such", None),
    ],
)
def test_the_next_smaller_profile_takes_less_and_runs_on_the_same_gpu(
    model: str, profile: str, expected: str | None
) -> None:
    found = smaller(reading.load(model), profile)
    assert (found and found.name) == expected
