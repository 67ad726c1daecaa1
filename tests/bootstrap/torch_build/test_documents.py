"""The table of drivers in the documentation is the kit's own."""

from __future__ import annotations

import pytest

from bootstrap.launch import packages
from bootstrap.torch_build import builds
from bootstrap.torch_build.builds import BLACKWELL, BUILDS, OLDEST_DRIVER, Build, written

PAGE = packages.REQUIREMENTS.parent / "docs/images.md"


def row(build: Build) -> str:
    driver = OLDEST_DRIVER[build.needs_cuda]
    blackwell = OLDEST_DRIVER[build.least_cuda(BLACKWELL)]
    if build.holds(BLACKWELL) and blackwell != driver:
        driver = f"{driver}; Blackwell {blackwell}"
    cards = f"{written(min(build.cards))} to {written(max(build.cards))}"
    lost = "; ".join(build.gives_up) or "nothing"
    tag = f"cu{build.cuda[0]}{build.cuda[1]}"
    return (
        f"| `{tag}` | {build.torch} | {written(build.cuda)} | {driver} | {cards} | {lost}"
        f" | {'yes' if build.measured else 'no'} | `requirements/{build.requirements}` |"
    )


@pytest.mark.parametrize("build", BUILDS, ids=lambda build: build.name)
def test_each_build_has_its_row(build: builds.Build) -> None:
    assert row(build) in PAGE.read_text(encoding="utf-8").splitlines()


def test_the_table_has_no_other_row() -> None:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    assert len(
        [line for line in lines if "`requirements/torch-" in line and line.startswith("| `cu")]
    ) == len(BUILDS)
