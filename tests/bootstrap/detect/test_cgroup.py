"""Trees as the kernel shows them, copied from v1 and v2 hosts."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from bootstrap.detect import cgroup

GIB = 1024**3


class Kernel:
    """A /proc and a /sys of a few files."""

    def __init__(self, root: Path) -> None:
        self.proc, self.sys = root / "proc", root / "sys"
        self.groups("0::/\n")

    def groups(self, text: str) -> None:
        (self.proc / "self").mkdir(parents=True, exist_ok=True)
        (self.proc / "self/cgroup").write_text(text)

    def file(self, path: str, text: str) -> None:
        target = self.sys / "fs/cgroup" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def read(self) -> cgroup.Limits:
        return cgroup.read(proc=self.proc, sys=self.sys)


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    return Kernel(tmp_path)


def test_v2_in_a_container(kernel: Kernel) -> None:
    kernel.file("memory.max", f"{2 * GIB}\n")
    kernel.file("memory.current", f"{GIB}\n")
    kernel.file("memory.stat", f"anon 5\ninactive_file {GIB // 2}\n")
    kernel.file("cpu.max", "150000 100000\n")
    kernel.file("pids.max", "1024\n")
    limits = kernel.read()
    assert limits.ram_limit_bytes == 2 * GIB
    assert limits.ram_available_bytes == 2 * GIB - GIB // 2  # page cache is as good as free
    assert limits.cpu_quota == 1.5
    assert limits.pids_max == 1024


def test_a_soft_limit_is_a_limit(kernel: Kernel) -> None:
    """Above memory.high the kernel slows the container down until it is below."""
    kernel.file("memory.max", f"{2 * GIB}\n")
    kernel.file("memory.high", f"{GIB}\n")
    kernel.file("memory.current", f"{GIB // 4}\n")
    limits = kernel.read()
    assert limits.ram_limit_bytes == GIB
    assert limits.ram_available_bytes == GIB - GIB // 4


def test_v2_without_limits_is_the_host(kernel: Kernel) -> None:
    for name in ("memory.max", "pids.max"):
        kernel.file(name, "max\n")
    kernel.file("cpu.max", "max 100000\n")
    limits = kernel.read()
    assert limits.ram_limit_bytes == psutil.virtual_memory().total
    assert limits.cpu_quota is None
    assert limits.pids_max is None


def test_v2_the_tightest_group_on_the_way_up_counts(kernel: Kernel) -> None:
    kernel.groups("0::/box/kit\n")
    kernel.file("box/kit/memory.max", "max\n")
    kernel.file("box/memory.max", f"{GIB}\n")
    kernel.file("box/memory.current", "0\n")
    kernel.file("memory.max", "max\n")
    kernel.file("box/kit/cpu.max", "400000 100000")
    kernel.file("box/cpu.max", "200000 100000")
    limits = kernel.read()
    assert limits.ram_limit_bytes == GIB
    assert limits.cpu_quota == 2


def test_v1_in_a_container_whose_group_lies_outside_of_the_mount(kernel: Kernel) -> None:
    kernel.groups("4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n2:pids:/docker/abc\n1:name=systemd:/\n")
    kernel.file("memory/memory.limit_in_bytes", f"{3 * GIB}\n")
    kernel.file("memory/memory.usage_in_bytes", f"{2 * GIB}\n")
    kernel.file("memory/memory.stat", f"inactive_file 1\ntotal_inactive_file {GIB}\n")
    kernel.file("cpu,cpuacct/cpu.cfs_quota_us", "4600000\n")
    kernel.file("cpu,cpuacct/cpu.cfs_period_us", "100000\n")
    kernel.file("pids/pids.max", "1024\n")
    limits = kernel.read()
    assert limits.ram_limit_bytes == 3 * GIB
    assert limits.ram_available_bytes == 2 * GIB
    assert limits.cpu_quota == 46
    assert limits.pids_max == 1024


def test_v1_without_limits_is_the_host(kernel: Kernel) -> None:
    kernel.groups("4:memory:/\n3:cpu:/\n")
    kernel.file("memory/memory.limit_in_bytes", "9223372036854771712\n")
    kernel.file("cpu/cpu.cfs_quota_us", "-1\n")
    kernel.file("cpu/cpu.cfs_period_us", "100000\n")
    limits = kernel.read()
    assert limits.ram_limit_bytes == psutil.virtual_memory().total
    assert limits.cpu_quota is None


def test_a_machine_without_cgroups_is_the_host(tmp_path: Path) -> None:
    limits = cgroup.read(proc=tmp_path, sys=tmp_path)
    assert limits.ram_limit_bytes == psutil.virtual_memory().total
    assert (limits.cpu_quota, limits.pids_max) == (None, None)
    assert limits.cpu_visible is not None


def test_unreadable_numbers_are_not_known(kernel: Kernel) -> None:
    kernel.file("pids.max", "many\n")
    kernel.file("cpu.max", "\n")
    assert (kernel.read().pids_max, kernel.read().cpu_quota) == (None, None)
