"""The builds of torch that requirements/ pins: what each needs of driver and card, and what it gives up.

Where the facts are from: versions, CUDA and architectures are read off the wheels of the package index
(``torch._C._cuda_getArchFlags()``; no wheel holds PTX). The drivers:
https://docs.nvidia.com/deploy/cuda-compatibility/ and, for Blackwell, the release notes of CUDA 12.8. What
the older builds give up is derived: docs/images.md says what was tried. No GPU was at hand.
"""

from __future__ import annotations

from dataclasses import dataclass

Version = tuple[int, int]  # of CUDA, or a compute capability

# The oldest driver that runs a CUDA version. Within one major version an older driver runs newer builds as
# well, as long as it knows the card: it only cannot compile PTX, and builds bring machine code for cards.
OLDEST_DRIVER: dict[Version, str] = {(12, 0): "525.60.13", (12, 8): "570.26", (13, 0): "580.65.06"}
BLACKWELL: Version = (10, 0)  # this card and later ones are known to drivers since CUDA 12.8
X86 = ("x86_64", "AMD64")
ARM = ("aarch64", "arm64")


@dataclass(frozen=True)
class Build:
    """One pinned torch, in ``requirements/torch-<name>.txt``."""

    name: str
    torch: str
    cuda: Version
    needs_cuda: Version  # the least that the driver must run; a key of OLDEST_DRIVER
    cards: tuple[Version, ...]  # compute capabilities that it holds machine code for
    hosts: tuple[str, ...]  # processors, as ``platform.machine()`` names them, whose wheel has CUDA
    gives_up: tuple[str, ...] = ()  # on the cards that it is taken for
    measured: bool = True  # whether times and memory of the manifests were measured with it

    @property
    def requirements(self) -> str:
        """The file's name below requirements/."""
        return f"torch-{self.name}.txt"

    @property
    def title(self) -> str:
        return f"torch {self.torch} for CUDA {written(self.cuda)}"

    def holds(self, card: Version) -> bool:
        """Machine code runs on later cards of the same major version, too."""
        return any(each[0] == card[0] and each <= card for each in self.cards)

    def least_cuda(self, card: Version | None) -> Version:
        """What the driver must run at least for this build on this card."""
        if card is not None and card >= BLACKWELL:
            return max(self.needs_cuda, (12, 8))
        return self.needs_cuda


# The newest first: the first one that the driver runs and that holds the card is taken.
BUILDS = (
    Build(
        name="cuda",
        torch="2.13.0",
        cuda=(13, 0),
        needs_cuda=(13, 0),
        cards=((7, 5), (8, 0), (8, 6), (9, 0), (10, 0), (12, 0)),
        hosts=(*X86, *ARM),
    ),
    Build(
        name="cu128",
        torch="2.10.0",
        cuda=(12, 8),
        needs_cuda=(12, 0),
        cards=((7, 0), (7, 5), (8, 0), (8, 6), (9, 0), (10, 0), (12, 0)),
        hosts=X86,
        measured=False,
    ),
    Build(
        name="cu126",
        torch="2.7.1",
        cuda=(12, 6),
        needs_cuda=(12, 0),
        cards=((5, 0), (6, 0), (7, 0), (7, 5), (8, 0), (8, 6), (9, 0)),
        hosts=X86,
        gives_up=("the fused kernels, int8 attention and FP8 products: plain torch computes instead",),
        measured=False,
    ),
)
# What an image brought may be as old as this: then FP8 products by rows came to the last cards.
OLDEST_TORCH: Version = (2, 8)
CPU_REQUIREMENTS = "torch-cpu.txt"


def written(version: Version) -> str:
    """(12, 8) as "12.8"."""
    return f"{version[0]}.{version[1]}"


def version(number: float) -> Version:
    """12.8 as (12, 8): marketplaces and manifests write CUDA and compute capabilities as numbers."""
    return int(number), round(number * 10) % 10


def is_newer_than_all(card: Version) -> bool:
    """A card that came after the newest build: that one is tried, and people are told."""
    return card[0] > max(BUILDS[0].cards)[0]


def least_cuda(card: Version | None, host: str = "x86_64") -> Version:
    """The least CUDA that a driver must run so that any build runs on this card: the filter for offers.

    None is a card that nobody named: one of before Blackwell.
    """
    known = card if card is None or not is_newer_than_all(card) else None
    able = [each for each in BUILDS if host in each.hosts and (known is None or each.holds(known))]
    return min((each.least_cuda(card) for each in able), default=BUILDS[0].needs_cuda)
