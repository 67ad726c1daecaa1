"""Driver, cards and the torch that is there → the torch that will run. A pure function."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from bootstrap.torch_build.builds import (
    BLACKWELL,
    BUILDS,
    CPU_REQUIREMENTS,
    OLDEST_DRIVER,
    OLDEST_TORCH,
    Build,
    Version,
    is_newer_than_all,
    least_cuda,
    written,
)
from bootstrap.torch_build.installed import Torch

Code = Literal[
    "driver_too_old", "card_too_old", "torch_too_old", "torch_without_cuda", "torch_for_other_driver"
]
COMMON: Version = (8, 0)  # suffices for every shipped model
RENT = (
    "rent a host whose driver runs CUDA {cuda} or newer (a filter of the marketplaces), or update the driver"
)


@dataclass(frozen=True)
class Driver:
    """What is known of it; all None: nothing, as for a machine that is only described."""

    number: str | None = None  # "550.90.07"
    cuda: Version | None = None  # the newest that it runs

    def runs(self, needed: Version) -> bool:
        """Whether it runs CUDA ``needed``, a key of OLDEST_DRIVER. An unknown driver does."""
        if self.cuda is not None:
            return self.cuda >= needed
        return self.number is None or _numbers(self.number) >= _numbers(OLDEST_DRIVER.get(needed, "0"))

    @property
    def title(self) -> str:
        runs = f", which runs CUDA up to {written(self.cuda)}" if self.cuda else ""
        return f"the driver is {self.number or 'of an unknown number'}{runs}"


@dataclass(frozen=True)
class Problem:
    """Why no torch of the kit runs on a card here, and what to do."""

    code: Code
    problem: str
    fix: str


@dataclass(frozen=True)
class Decision:
    """``keep`` what is there, ``install`` the build where there is none, ``replace`` what is there by it.

    With ``refuse`` there is a problem, and no torch runs on these cards.
    """

    action: Literal["keep", "install", "replace", "refuse"]
    build: Build | None = None  # to be installed, or the pinned one that is there
    there: Torch | None = None
    why: str | None = None  # what is there does not do
    problem: Problem | None = None

    @property
    def requirements(self) -> str | None:
        """The file below requirements/ that is to be installed; None: what is there stays."""
        if self.action not in ("install", "replace"):
            return None
        return self.build.requirements if self.build else CPU_REQUIREMENTS

    @property
    def title(self) -> str:
        """One line for people: which torch, and what happens to it."""
        if self.action == "refuse":
            return "none that runs here"
        if self.action == "keep":
            return f"{self.there.title}, which is there" if self.there else ""
        new = self.build.title if self.build else "torch for the CPU"
        instead = f" in place of {self.there.title}: {self.why}" if self.there else ""
        return f"{new} will be installed{instead}"


def decide(
    driver: Driver, cards: Sequence[Version | None], there: Torch | None, *, host: str = "x86_64"
) -> Decision:
    """The torch for these cards; None is a card of unknown capability, and no card at all is the CPU."""
    if not cards:
        return _for_cpu(there)
    cards = [None if card is not None and is_newer_than_all(card) else card for card in cards]
    build = choose(driver, cards, host=host)
    lacking = _why_not(driver, cards, there, build) if there is not None else None
    if there is not None and lacking is None:
        return Decision("keep", _pinned(there), there)
    if build is None:
        return Decision("refuse", None, there, problem=_no_build(driver, cards, host))
    if there is None:
        return Decision("install", build)
    assert lacking is not None
    code, why = lacking
    if there.replaceable:
        return Decision("replace", build, there, why)
    return Decision("refuse", build, there, why, _not_replaced(code, why, there, build))


def _for_cpu(there: Torch | None) -> Decision:
    """Any build computes on the CPU."""
    if there is None:
        return Decision("install")
    if there.release >= OLDEST_TORCH:
        return Decision("keep", _pinned(there), there)
    why = f"the engines need torch {written(OLDEST_TORCH)} or newer"
    if there.replaceable:
        return Decision("replace", None, there, why)
    return Decision("refuse", None, there, why, _not_replaced("torch_too_old", why, there, None))


def choose(driver: Driver, cards: Sequence[Version | None], *, host: str = "x86_64") -> Build | None:
    """The newest build that the driver runs on all of the cards; None when there is none."""
    return next(
        (
            build
            for build in BUILDS
            if host in build.hosts
            and all(
                driver.runs(build.least_cuda(card)) and (card is None or build.holds(card)) for card in cards
            )
        ),
        None,
    )


def _pinned(there: Torch) -> Build | None:
    release = there.version.partition("+")[0]
    return next((build for build in BUILDS if (build.torch, build.cuda) == (release, there.cuda)), None)


def _why_not(
    driver: Driver, cards: Sequence[Version | None], there: Torch, build: Build | None
) -> tuple[Code, str] | None:
    """Why the torch that is there does not run on these cards; None when it does, as far as one can know."""
    if there.cuda is None:
        return "torch_without_cuda", "it does not compute on a GPU"
    if build is not None and _pinned(there) == build:
        return None
    if there.release < OLDEST_TORCH:
        return "torch_too_old", f"the engines need torch {written(OLDEST_TORCH)} or newer"
    for card in cards:
        needed = _least_cuda(there.cuda, card)
        if not driver.runs(needed):
            oldest = (
                f"driver {OLDEST_DRIVER[needed]} or newer" if needed in OLDEST_DRIVER else "a newer driver"
            )
            return "torch_for_other_driver", f"it needs {oldest}; {driver.title}"
        if card is not None and not _holds(there, card):
            return "torch_for_other_driver", f"it has no code for compute capability {written(card)}"
    return None


def _least_cuda(cuda: Version, card: Version | None) -> Version:
    """What the driver must run for a build that the kit did not choose, by the rule of the pinned ones."""
    first = (cuda[0], 0)
    return max(first, (12, 8)) if card is not None and card >= BLACKWELL else first


def _holds(there: Torch, card: Version) -> bool:
    """Of a torch that the kit did not pin its CUDA alone tells which cards it was built for."""
    assert there.cuda is not None
    pinned = _pinned(there)
    if pinned is not None:
        return pinned.holds(card)
    return card >= (7, 5) if there.cuda >= (12, 8) else card < BLACKWELL


def _no_build(driver: Driver, cards: Sequence[Version | None], host: str) -> Problem:
    """The first card that no build runs on; where each has one, no build has them all."""
    for card in cards:
        if choose(driver, (card,), host=host) is None:
            return _no_build_for(driver, card, host)
    all_of_them = ", ".join(written(card) for card in cards if card is not None)
    return Problem(
        "card_too_old",
        f"no single torch has code for the compute capabilities {all_of_them} of these cards",
        "name the newer cards alone in CUDA_VISIBLE_DEVICES",
    )


def _no_build_for(driver: Driver, card: Version | None, host: str) -> Problem:
    able = [build for build in BUILDS if host in build.hosts and (card is None or build.holds(card))]
    if not able:
        has = f"compute capability {written(card)} on {host}" if card else host
        return Problem(
            "card_too_old",
            f"no torch that the kit installs has code for {has}",
            f"rent a card with compute capability {written(COMMON)} or newer"
            " (an RTX 30, 40 or 50, an A10, A100, L4, L40S, H100 or newer) on an x86-64 host",
        )
    needed = least_cuda(card, host)
    build = next(build for build in able if build.least_cuda(card) == needed)
    which = f" on compute capability {written(card)}" if card else ""
    return Problem(
        "driver_too_old",
        f"{driver.title}; {build.title} needs driver {OLDEST_DRIVER[needed]} or newer{which}",
        RENT.format(cuda=written(needed)),
    )


def _not_replaced(code: Code, why: str, there: Torch, build: Build | None) -> Problem:
    file = build.requirements if build else CPU_REQUIREMENTS
    return Problem(
        code,
        f"{there.title} is installed: {why}; the kit leaves it alone, since this Python is not the kit's own",
        f"pip install --force-reinstall --no-deps -r requirements/{file}, in this Python;"
        " or start the kit in an environment of its own: scripts/start.sh, or make install",
    )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())
