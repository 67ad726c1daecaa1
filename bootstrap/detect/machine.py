"""What this machine is: plain facts. Detection fills them in; nothing here decides.

``None`` always means "not known": a value that could not be read is never invented.
"""

from __future__ import annotations

from dataclasses import dataclass, field

GIB = 1024**3


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
    ram_limit_bytes: int | None = None  # the cgroup's limit, or the host's memory
    ram_available_bytes: int | None = None
    cpu_quota: float | None = None  # cores that the cgroup grants
    cpu_visible: int | None = None
    pids_max: int | None = None
    disk_path: str | None = None
    disk_free_bytes: int | None = None
    disk_write_bytes_per_second: float | None = None
    findings: tuple[Finding, ...] = field(default=())
