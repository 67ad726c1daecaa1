"""A machine that can be rented now, and what a person asks of one. ``None``: the marketplace does not say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bootstrap.detect.machine import PcieLink

# Disks are priced by the month; 30 days is the dearer reading of one.
HOURS_A_MONTH = 720
# The least link that `startup` prints and `rent` asks for. A slow one costs money while the model comes:
# the ranking by the price of a clip counts that, so the filter only keeps out what never gets ready.
MIN_DOWN_MBPS = 200.0
MIN_RELIABILITY = 0.98


@dataclass(frozen=True)
class Offer:
    """A machine that can be rented now.

    ``dollars_per_hour`` is all that the hour costs: GPUs, disk, the renter's fee; in dollars, whatever the
    order pays with. ``listed_dollars_per_hour`` is what the marketplace's page shows. RAM and CPUs are the
    offer's share of its host, not the host's.
    """

    platform: str
    id: str
    gpu: str
    gpus: int
    vram_gib: float  # of one GPU
    dollars_per_hour: float
    listed_dollars_per_hour: float | None = None
    stopped_dollars_per_hour: float | None = None  # what its disk costs while it is stopped
    dollars_per_gb_down: float = 0.0
    dollars_per_gb_up: float = 0.0
    interruptible: bool = False  # cheaper; the marketplace may take it back
    min_bid_dollars_per_hour: float | None = None  # the least that an interruptible order may bid
    compute_capability: float | None = None
    cuda: float | None = None  # the newest that the driver runs
    driver: str | None = None
    ram_gib: float | None = None
    cpus: float | None = None
    gpu_share: float | None = None  # of the host's GPUs, 0 to 1
    disk_gb: float | None = None
    disk_mb_per_second: float | None = None
    down_mbps: float | None = None
    up_mbps: float | None = None
    pcie_gb_per_second: float | None = None  # from CPU to GPU, measured or reckoned from generation and lanes
    pcie_gen: int | None = None
    pcie_lanes: int | None = None
    direct_ports: int | None = None
    reliability: float | None = None  # 0 to 1
    verified: bool | None = None
    place: str | None = None  # for people
    region: str | None = None  # two letters of the country
    host_id: str | None = None  # the machine's, for black lists
    # What the order must repeat so that it costs what was listed: a bid, a cloud, a currency.
    terms: Mapping[str, Any] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Filters:
    """What a person asks of an offer.

    A value that the marketplace does not give passes; what its order can demand instead, the client demands.
    """

    max_dollars_per_hour: float | None = None
    regions: tuple[str, ...] = ()  # two letters of each country
    gpus: int | None = 1  # exactly; None: any number
    interruptible: bool = False
    verified: bool = True
    min_pcie_gb_per_second: float | None = None
    min_down_mbps: float | None = MIN_DOWN_MBPS
    min_disk_mb_per_second: float | None = None
    min_reliability: float | None = MIN_RELIABILITY
    min_cuda: float | None = None  # None: that of the kit's own packages
    excluded_hosts: frozenset[str] = frozenset()

    def passes(self, offer: Offer) -> bool:
        """Is the offer one that the person would take?"""
        least = (
            (offer.pcie_gb_per_second, self.min_pcie_gb_per_second),
            (offer.down_mbps, self.min_down_mbps),
            (offer.disk_mb_per_second, self.min_disk_mb_per_second),
            (offer.reliability, self.min_reliability),
            (offer.cuda, self.min_cuda),
        )
        return (
            all(has is None or wanted is None or has >= wanted for has, wanted in least)
            and (self.max_dollars_per_hour is None or offer.dollars_per_hour <= self.max_dollars_per_hour)
            and (self.gpus is None or offer.gpus == self.gpus)
            and (not self.regions or offer.region is None or offer.region in self.regions)
            and offer.interruptible == self.interruptible
            and not (self.verified and offer.verified is False)
            and offer.host_id not in self.excluded_hosts
        )


def pcie_rate(generation: float | None, lanes: float | None) -> float | None:
    """GB/s that a copy gets in a slot; None when either is not known."""
    return PcieLink(int(generation), int(lanes)).bytes_per_second / 1e9 if generation and lanes else None


def disk_dollars_per_hour(gb: float, dollars_per_gb_month: float) -> float:
    """What a disk costs by the hour."""
    return gb * dollars_per_gb_month / HOURS_A_MONTH
