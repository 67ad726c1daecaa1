"""Every driver that marketplaces have, on every kind of card, with every torch that images bring."""

from __future__ import annotations

import itertools

import pytest

from bootstrap.launch import packages
from bootstrap.torch_build import builds, decision
from bootstrap.torch_build.builds import BUILDS, Version
from bootstrap.torch_build.decision import Driver
from bootstrap.torch_build.installed import Torch

DRIVERS: dict[str, Version] = {
    "525.60.13": (12, 0),
    "535.104.05": (12, 2),
    "550.90.07": (12, 4),
    "560.35.03": (12, 6),
    "570.86.10": (12, 8),
    "580.95.05": (13, 0),
    "590.44.01": (13, 1),
}
CARDS: list[Version] = [(7, 0), (7, 5), (8, 0), (8, 6), (8, 9), (9, 0), (10, 0), (12, 0)]
# The torch that is installed on a machine without one; "-": none runs.
EXPECTED = """
driver     7.0   7.5   8.0   8.6   8.9   9.0   10.0  12.0
525.60.13  cu128 cu128 cu128 cu128 cu128 cu128 -     -
535.104.05 cu128 cu128 cu128 cu128 cu128 cu128 -     -
550.90.07  cu128 cu128 cu128 cu128 cu128 cu128 -     -
560.35.03  cu128 cu128 cu128 cu128 cu128 cu128 -     -
570.86.10  cu128 cu128 cu128 cu128 cu128 cu128 cu128 cu128
580.95.05  cu128 cuda  cuda  cuda  cuda  cuda  cuda  cuda
590.44.01  cu128 cuda  cuda  cuda  cuda  cuda  cuda  cuda
"""
ROWS = [line.split() for line in EXPECTED.split("\n")[2:-1]]
MATRIX = [
    (number, card, name)
    for number, *names in ROWS
    for card, name in zip(CARDS, names, strict=True)
]  # fmt: skip
CPU = Torch("2.13.0+cpu", None)
OLD = Torch("1.13.1+cu117", (11, 7))


def test_the_matrix_is_whole() -> None:
    assert {(number, card) for number, card, _ in MATRIX} == set(itertools.product(DRIVERS, CARDS))


@pytest.mark.parametrize("knows", ["number and CUDA", "number", "CUDA"])
@pytest.mark.parametrize(("number", "card", "name"), MATRIX)
def test_the_newest_torch_that_driver_and_card_run_is_installed(
    number: str, card: Version, name: str, knows: str
) -> None:
    driver = Driver(
        number=number if "number" in knows else None, cuda=DRIVERS[number] if "CUDA" in knows else None
    )
    decided = decision.decide(driver, [card], None)
    if name == "-":
        assert decided.action == "refuse"
        assert decided.requirements is None
        assert decided.problem is not None
        assert decided.problem.code == "driver_too_old"
        assert "570.26" in decided.problem.problem
        assert "CUDA 12.8 or newer" in decided.problem.fix
    else:
        assert decided.action == "install"
        assert decided.requirements == f"torch-{name}.txt"


@pytest.mark.parametrize("there", [CPU, OLD], ids=["cpu", "old"])
@pytest.mark.parametrize(("number", "card", "name"), MATRIX)
def test_what_does_not_compute_there_is_replaced_where_it_is_the_kits_own(
    number: str, card: Version, name: str, there: Torch
) -> None:
    driver = Driver(number, DRIVERS[number])
    own = decision.decide(driver, [card], Torch(there.version, there.cuda, replaceable=True))
    others = decision.decide(driver, [card], there)
    assert others.action == "refuse"
    assert others.problem is not None
    if name == "-":
        assert own.action == "refuse"
        assert others.problem.code == "driver_too_old"
        return
    assert (own.action, own.requirements) == ("replace", f"torch-{name}.txt")
    assert there.version in own.title
    assert others.problem.code == ("torch_without_cuda" if there is CPU else "torch_too_old")
    assert f"requirements/torch-{name}.txt" in others.problem.fix


@pytest.mark.parametrize(("number", "card", "name"), MATRIX)
def test_a_pinned_torch_that_is_there_stays_where_it_runs(number: str, card: Version, name: str) -> None:
    driver = Driver(number, DRIVERS[number])
    for build in BUILDS:
        decided = decision.decide(driver, [card], Torch(build.torch, build.cuda, replaceable=True))
        if decided.action == "keep":
            assert driver.cuda is not None
            assert driver.cuda >= build.least_cuda(card)
            assert build.holds(card)
            assert decided.requirements is None
        else:
            assert name == "-" or decided.requirements == f"torch-{name}.txt"
        if build.name == name:
            assert decided.action == "keep"


@pytest.mark.parametrize(
    ("there", "driver", "card", "action"),
    [
        (Torch("2.8.0+cu128", (12, 8), True), Driver("550.90.07", (12, 4)), (8, 9), "keep"),
        (Torch("2.9.1+cu130", (13, 0), True), Driver("550.90.07", (12, 4)), (8, 9), "replace"),
        (Torch("2.14.1+cu130", (13, 0), True), Driver("580.95.05", (13, 0)), (9, 0), "keep"),
        (Torch("2.9.1+cu126", (12, 6), True), Driver("580.95.05", (13, 0)), (12, 0), "replace"),
        (Torch("2.6.0+cu124", (12, 4), True), Driver("580.95.05", (13, 0)), (8, 9), "replace"),
        (Torch("2.9.1+cu118", (11, 8), True), Driver("520.61.05", (11, 8)), (8, 9), "keep"),
        (Torch("2.13.0", (13, 0), True), Driver("575.57.08", None), (8, 9), "replace"),
        (Torch("2.13.0", (13, 0), True), Driver(), (8, 9), "keep"),  # nothing is known of the driver
        (Torch("2.13.0", (13, 0), True), Driver("580.95.05", (13, 0)), None, "keep"),
    ],
)  # fmt: skip
def test_a_torch_that_an_image_brought_stays_where_it_runs(
    there: Torch, driver: Driver, card: Version | None, action: str
) -> None:
    assert decision.decide(driver, [card], there).action == action


def test_a_driver_that_is_too_old_for_all_is_told_with_its_number_and_what_would_do() -> None:
    problem = decision.decide(Driver("470.256.02", (11, 4)), [(8, 6)], None).problem
    assert problem is not None
    assert problem.code == "driver_too_old"
    assert "470.256.02, which runs CUDA up to 11.4" in problem.problem
    assert "525.60.13 or newer" in problem.problem
    assert "CUDA 12.0 or newer" in problem.fix


def test_a_card_that_no_torch_has_code_for_is_told_with_its_capability() -> None:
    problem = decision.decide(Driver("470.256.02", (11, 4)), [(3, 7)], None).problem
    assert problem is not None
    assert problem.code == "card_too_old"
    assert "3.7" in problem.problem
    assert "8.0 or newer" in problem.fix


def test_cards_before_volta_have_the_oldest_build() -> None:
    assert decision.decide(Driver("580.95.05", (13, 0)), [(6, 1)], None).requirements == "torch-cu126.txt"


def test_several_cards_share_one_torch() -> None:
    driver = Driver("580.95.05", (13, 0))
    assert decision.decide(driver, [(7, 0), (12, 0)], None).requirements == "torch-cu128.txt"
    problem = decision.decide(driver, [(6, 1), (12, 0)], None).problem
    assert problem is not None
    assert "CUDA_VISIBLE_DEVICES" in problem.fix


def test_an_arm_host_has_the_one_build_that_exists_for_it() -> None:
    new, old = Driver("580.95.05", (13, 0)), Driver("550.90.07", (12, 4))
    assert decision.decide(new, [(9, 0)], None, host="aarch64").requirements == "torch-cuda.txt"
    problem = decision.decide(old, [(9, 0)], None, host="aarch64").problem
    assert problem is not None
    assert "580.65.06" in problem.problem


@pytest.mark.parametrize(
    ("there", "action"),
    [(None, "install"), (CPU, "keep"), (Torch("2.13.0", (13, 0)), "keep"), (OLD, "refuse"),
     (Torch("1.13.1+cu117", (11, 7), True), "replace")],
)  # fmt: skip
def test_without_a_card_any_torch_that_is_new_enough_does(there: Torch | None, action: str) -> None:
    decided = decision.decide(Driver(), [], there)
    assert decided.action == action
    assert decided.requirements == ("torch-cpu.txt" if action in ("install", "replace") else None)


@pytest.mark.parametrize("build", BUILDS, ids=lambda build: build.name)
def test_each_build_is_pinned_with_its_hashes_and_its_cuda(build: builds.Build) -> None:
    pinned = (packages.REQUIREMENTS / build.requirements).read_text()
    assert f"\ntorch=={build.torch} " in pinned
    runtime = "nvidia-cuda-runtime" if build.cuda >= (13, 0) else f"nvidia-cuda-runtime-cu{build.cuda[0]}"
    assert f"\n{runtime}=={builds.written(build.cuda)}." in pinned
    names = [line for line in pinned.splitlines() if "==" in line]
    assert all(line.endswith("\\") for line in names)
    assert pinned.count("--hash=sha256:") >= len(names)
    assert "http" not in pinned


@pytest.mark.parametrize(
    ("card", "host", "least"),
    [((8, 6), "x86_64", (12, 0)), ((12, 0), "x86_64", (12, 8)), ((7, 0), "x86_64", (12, 0)),
     ((9, 0), "aarch64", (13, 0)), (None, "x86_64", (12, 0))],
)  # fmt: skip
def test_the_filter_for_offers_is_the_least_that_any_build_needs(
    card: Version | None, host: str, least: Version
) -> None:
    assert builds.least_cuda(card, host) == least


def test_a_card_of_next_year_has_the_newest_build() -> None:
    assert decision.decide(Driver("650.10", (14, 0)), [(14, 0)], None).requirements == "torch-cuda.txt"
