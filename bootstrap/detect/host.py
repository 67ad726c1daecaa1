"""The host around this container: its share for a renter of some of its GPUs, and what else its memory is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from bootstrap.detect import disk
from bootstrap.detect.cgroup import Limits


@dataclass(frozen=True)
class Granted:
    """Limits as they are granted. ``share``: of memory and cores; None where limits say it all."""

    limits: Limits
    share: float | None = None


def granted(limits: Limits, *, cards_here: int, cards_of_host: int, host_bytes: int | None = None) -> Granted:
    """What a renter of some of a host's GPUs may take where the container has no limit of its own.

    Marketplaces grant memory and cores by the share of the GPUs, and let a container take more until the
    host runs out: then the kernel kills it. A limit of the cgroup is believed.
    """
    host_bytes = psutil.virtual_memory().total if host_bytes is None else host_bytes
    is_part = 0 < cards_here < cards_of_host
    has_limit = limits.ram_limit_bytes is not None and limits.ram_limit_bytes < host_bytes
    if not is_part or has_limit or limits.ram_limit_bytes is None:
        return Granted(limits)
    share = cards_here / cards_of_host
    ram = int(limits.ram_limit_bytes * share)
    available = ram if limits.ram_available_bytes is None else min(ram, limits.ram_available_bytes)
    cores = limits.cpu_quota
    if cores is None and limits.cpu_visible:
        cores = max(1.0, limits.cpu_visible * share)
    return Granted(
        replace(limits, ram_limit_bytes=ram, ram_available_bytes=available, cpu_quota=cores), share
    )


def swap_bytes() -> int | None:
    try:
        return int(psutil.swap_memory().total)
    except (OSError, RuntimeError):
        return None


def shared_memory_bytes(folder: Path = Path("/dev/shm")) -> int | None:  # noqa: S108
    """What /dev/shm may hold more; None where there is none."""
    return disk.free_bytes(folder) if folder.is_dir() else None


def container_started_at() -> float | None:
    """Seconds since the epoch: of its first process, which outside of containers is the machine's."""
    try:
        return psutil.Process(1).create_time()
    except psutil.Error:
        return None


def numa_nodes(sys: Path) -> int | None:
    return len(list((sys / "devices/system/node").glob("node[0-9]*"))) or None
