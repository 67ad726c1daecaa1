"""How much memory, CPU and threads this container may use: by cgroup v1 or v2, else by the host."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

# cgroup v1 writes "no limit" as a number near 2**63
UNLIMITED = 2**60
# Above memory.high the kernel slows a group down until it is below again: no place for weights that stay.
LIMITS = ("memory.max", "memory.high", "memory.limit_in_bytes")


@dataclass(frozen=True)
class Limits:
    """Bytes, cores and threads. ``None`` is not known, or for ``cpu_quota`` and ``pids_max`` not limited."""

    ram_limit_bytes: int | None
    ram_available_bytes: int | None
    cpu_quota: float | None
    cpu_visible: int | None
    pids_max: int | None


UNKNOWN = Limits(None, None, None, None, None)


def read(*, proc: Path = Path("/proc"), sys: Path = Path("/sys")) -> Limits:
    """The tightest limit of this process's groups and all groups above them."""
    unified, v1 = _groups(proc)
    root = sys / "fs/cgroup"
    memory = list(memory_folders(proc=proc, sys=sys))
    cpu = [
        *_folders(root, unified),
        *_folders(root / "cpu", v1.get("cpu")),
        *_folders(root / "cpu,cpuacct", v1.get("cpu")),
    ]
    pids = [*_folders(root, unified), *_folders(root / "pids", v1.get("pids"))]
    host = psutil.virtual_memory()
    limit = _least(_number(folder / name) for folder in memory for name in LIMITS)
    free = _least(_free(folder) for folder in memory)
    return Limits(
        ram_limit_bytes=_least((limit, host.total)),
        ram_available_bytes=_least((free, host.available)),
        cpu_quota=_least_float(_quota(folder) for folder in cpu),
        cpu_visible=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        pids_max=_least(_number(folder / "pids.max") for folder in pids),
    )


def memory_folders(*, proc: Path = Path("/proc"), sys: Path = Path("/sys")) -> Iterator[Path]:
    """The folders of the groups that count this process's memory, the nearest first."""
    unified, v1 = _groups(proc)
    root = sys / "fs/cgroup"
    yield from _folders(root, unified)
    yield from _folders(root / "memory", v1.get("memory"))


def _groups(proc: Path) -> tuple[str | None, dict[str, str]]:
    """The path of this process's v2 group, and of each v1 controller, from /proc/self/cgroup."""
    unified, v1 = None, {}
    try:
        lines = (proc / "self/cgroup").read_text().splitlines()
    except OSError:
        return "/", {}
    for line in lines:
        _hierarchy, controllers, path = line.split(":", 2)
        if not controllers:
            unified = path
        for controller in controllers.split(","):
            v1[controller] = path
    return unified, v1


def _folders(root: Path, group: str | None) -> Iterator[Path]:
    """The group's folder and those above it. In a container the group often lies outside of the mount."""
    if group is None:
        return
    folder = root / group.lstrip("/")
    while folder != root and root in folder.parents and ".." not in folder.parts:
        yield folder
        folder = folder.parent
    yield root


def _free(folder: Path) -> int | None:
    """Limit less use, where page cache that can be dropped counts as free."""
    for limit_names, usage_name, cache_key in (
        (LIMITS[:2], "memory.current", "inactive_file"),
        (LIMITS[2:], "memory.usage_in_bytes", "total_inactive_file"),
    ):
        limit = _least(_number(folder / name) for name in limit_names)
        usage = _number(folder / usage_name)
        if limit is not None and usage is not None:
            return max(0, limit - max(0, usage - _stat(folder / "memory.stat", cache_key)))
    return None


def _stat(path: Path, key: str) -> int:
    try:
        pairs = (line.split() for line in path.read_text().splitlines())
        return next((int(value) for name, value in pairs if name == key), 0)
    except (OSError, ValueError):
        return 0


def _quota(folder: Path) -> float | None:
    """Cores: "quota period" of v2, or the two files of v1; None when there is no quota."""
    try:
        quota, period = (folder / "cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        pass
    micros, period_micros = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
    return micros / period_micros if micros and micros > 0 and period_micros else None


def _number(path: Path) -> int | None:
    """The number in a file; None for "max", for v1's "no limit" and when it cannot be read."""
    try:
        number = int(path.read_text())
    except (OSError, ValueError):
        return None
    return number if number < UNLIMITED else None


def _least(numbers: Iterator[int | None] | tuple[int | None, ...]) -> int | None:
    return min((number for number in numbers if number is not None), default=None)


def _least_float(numbers: Iterator[float | None]) -> float | None:
    return min((number for number in numbers if number is not None), default=None)
