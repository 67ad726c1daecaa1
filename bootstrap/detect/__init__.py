"""Reads the machine: every fact comes from the kernel or the driver, and ``None`` means "not known"."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from bootstrap.detect import cgroup, disk, gpu_torch, host, nvidia
from bootstrap.detect.machine import Machine
from bootstrap.torch_build import driver, installed


def read_machine(
    env: Mapping[str, str],
    disk_path: Path,
    *,
    is_rented: bool = False,
    probe_disk: bool = False,
    proc: Path = Path("/proc"),
    sys: Path = Path("/sys"),
) -> Machine:
    """Read everything that can be read without leaving a trace.

    ``is_rented``: other renters may have the host's other GPUs, and their share of its memory and cores.
    With ``probe_disk`` the rates of ``disk_path``, which must exist, are measured with a file that is
    removed again; that takes up to four seconds.
    """
    limits = cgroup.read(proc=proc, sys=sys)
    gpus = nvidia.read(env, host=limits, sys=sys, proc=proc)
    cards = nvidia.cards_of_host(sys)
    given = host.granted(limits, cards_here=gpus.cards if is_rented else 0, cards_of_host=cards)
    limits = given.limits
    rates = disk.rates(disk_path) if probe_disk else disk.Rates()
    machine = Machine(
        gpus=gpus.gpus,
        driver_version=gpus.driver_version,
        cuda_version=driver.version() if gpus.driver_version else None,
        ram_limit_bytes=limits.ram_limit_bytes,
        ram_available_bytes=limits.ram_available_bytes,
        cpu_quota=limits.cpu_quota,
        cpu_visible=limits.cpu_visible,
        pids_max=limits.pids_max,
        disk_path=str(disk_path),
        disk_free_bytes=disk.free_bytes(disk_path),
        disk_write_bytes_per_second=rates.write,
        disk_read_bytes_per_second=rates.read,
        gpus_of_host=cards or None,
        granted_share=given.share,
        swap_bytes=host.swap_bytes(),
        shared_memory_bytes=host.shared_memory_bytes(),
        numa_nodes=host.numa_nodes(sys),
        processor=platform.machine(),
        torch=installed.read(),
    )
    findings = (*gpus.findings, *gpu_torch.findings(machine), *disk.findings(disk_path, rates.write))
    return replace(machine, findings=findings)
