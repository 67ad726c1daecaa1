"""What this machine is: plain facts. Detection fills them in; nothing here decides.

``None`` always means "not known": a value that could not be read is never invented.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from bootstrap.torch_build.installed import Torch

GIB = 1024**3
# What a pinned copy gets through one lane, by generation: 55.5 GB/s were measured on 16 lanes of
# generation 5; 25 to 26 and 12 to 13 are usual on those of 4 and 3.
PCIE_LANE_BYTES_PER_SECOND = {1: 0.2e9, 2: 0.4e9, 3: 0.8e9, 4: 1.6e9, 5: 3.4e9, 6: 6.8e9}


def counted(lines: Iterable[str]) -> list[str]:
    """Each line once, with how often it came: a host may have eight cards of a kind.

    >>> counted(["H100", "H100", "L4"])
    ['2 x H100', 'L4']
    """
    counts = Counter(lines)
    return [f"{count} x {line}" if count > 1 else line for line, count in counts.items()]


@dataclass(frozen=True)
class PcieLink:
    """Between host memory and a GPU. Idle cards slow the generation down: the one that they reach at work."""

    generation: int
    width: int  # lanes that are connected; a riser of a mining rig has one

    @property
    def bytes_per_second(self) -> float:
        """What a pinned copy gets, roughly."""
        newest = max(PCIE_LANE_BYTES_PER_SECOND)
        return PCIE_LANE_BYTES_PER_SECOND[max(1, min(self.generation, newest))] * self.width

    def __str__(self) -> str:
        return f"PCIe {self.generation} x{self.width}"


@dataclass(frozen=True)
class Gpu:
    """One GPU, or one MIG slice, as its driver describes it."""

    uuid: str  # what CUDA_VISIBLE_DEVICES takes
    name: str
    vram_total_bytes: int
    vram_free_bytes: int
    compute_capability: tuple[int, int] | None
    power_limit_watts: float | None = None
    other_processes_bytes: int | None = None  # memory that others hold; None: not known
    is_mig_slice: bool = False
    pcie: PcieLink | None = None
    compute_share: float | None = 1.0  # of the whole card's multiprocessors; a MIG slice has a part
    shares_host_memory: bool = False  # its memory is the host's: what one takes, the other lacks


@dataclass(frozen=True)
class Finding:
    """Something about the machine that a user should know: what is wrong, and what to do."""

    code: str  # stable, e.g. "no_driver", "driver_too_old", "gpu_lost"
    problem: str
    fix: str


@dataclass(frozen=True)
class Machine:
    """Everything the choice of a profile may depend on."""

    gpus: tuple[Gpu, ...] = ()
    driver_version: str | None = None  # e.g. "580.159.03"
    cuda_version: tuple[int, int] | None = None  # newest CUDA that the driver runs
    ram_limit_bytes: int | None = None  # the cgroup's limit, or what is granted of the host's memory
    ram_available_bytes: int | None = None
    cpu_quota: float | None = None  # cores that are granted
    cpu_visible: int | None = None
    pids_max: int | None = None
    disk_path: str | None = None
    disk_free_bytes: int | None = None
    disk_write_bytes_per_second: float | None = None
    disk_read_bytes_per_second: float | None = None
    gpus_of_host: int | None = None  # also those that other renters have
    granted_share: float | None = None  # of a shared host's memory and cores, by GPUs; None: all of them
    swap_bytes: int | None = None
    shared_memory_bytes: int | None = None  # /dev/shm
    numa_nodes: int | None = None
    processor: str = "x86_64"  # as platform.machine() names it: not every torch is built for all
    torch: Torch | None = None  # that is there; another one may be installed
    findings: tuple[Finding, ...] = field(default=())
