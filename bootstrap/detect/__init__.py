"""Reads the machine: every fact comes from the kernel or the driver, and ``None`` means "not known"."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bootstrap.detect import cgroup, cuda_build, cuda_driver, disk, nvidia
from bootstrap.detect.machine import Machine


def read_machine(
    env: Mapping[str, str],
    disk_path: Path,
    *,
    probe_disk: bool = False,
    proc: Path = Path("/proc"),
    sys: Path = Path("/sys"),
) -> Machine:
    """Read everything that can be read without leaving a trace.

    With ``probe_disk`` the write rate of ``disk_path``, which must exist, is measured with a file that is
    removed again; that takes up to two seconds.
    """
    gpus = nvidia.read(env, sys=sys, proc=proc)
    limits = cgroup.read(proc=proc, sys=sys)
    cuda = cuda_driver.version() if gpus.driver_version else None
    rate = disk.write_rate(disk_path) if probe_disk else None
    return Machine(
        gpus=gpus.gpus,
        driver_version=gpus.driver_version,
        cuda_version=cuda,
        ram_limit_bytes=limits.ram_limit_bytes,
        ram_available_bytes=limits.ram_available_bytes,
        cpu_quota=limits.cpu_quota,
        cpu_visible=limits.cpu_visible,
        pids_max=limits.pids_max,
        disk_path=str(disk_path),
        disk_free_bytes=disk.free_bytes(disk_path),
        disk_write_bytes_per_second=rate,
        findings=(
            *gpus.findings,
            *cuda_build.findings(cuda, gpus.driver_version),
            *disk.findings(disk_path, rate),
        ),
    )
