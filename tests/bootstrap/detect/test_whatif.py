from __future__ import annotations

import pytest

from bootstrap.detect import whatif
from bootstrap.detect.machine import GIB, Finding, Gpu, Machine, PcieLink
from bootstrap.errors import KitError

REAL = Machine(
    gpus=(Gpu("GPU-1", "real", 8 * GIB, 7 * GIB, (8, 6)),),
    driver_version="580.1",
    cuda_version=(13, 0),
    ram_limit_bytes=16 * GIB,
    ram_available_bytes=12 * GIB,
    cpu_visible=4,
    disk_free_bytes=50 * GIB,
    findings=(Finding("gpu_busy", "busy", "wait"),),
)


@pytest.mark.parametrize(
    ("text", "free", "total", "capability"),
    [
        ("24gib:8.9", 24, 24, (8, 9)),
        ("20/24gib:8.9", 20, 24, (8, 9)),
        ("20gib/24gib:12.0", 20, 24, (12, 0)),
        ("24", 24, 24, None),
        ("22.5GiB:8.0", 22.5, 22.5, (8, 0)),
        ("30/24gib", 24, 24, None),  # no more can be free than there is
    ],
)
def test_a_gpu_is_written_as_memory_and_capability(
    text: str, free: float, total: float, capability: tuple[int, int] | None
) -> None:
    gpu = whatif.gpu(text)
    assert (gpu.vram_free_bytes, gpu.vram_total_bytes) == (free * GIB, total * GIB)
    assert gpu.compute_capability == capability


def test_a_gpu_may_have_a_name_and_a_link() -> None:
    assert whatif.gpu("22/24gib:8.9:NVIDIA GeForce RTX 4090").name == "NVIDIA GeForce RTX 4090"
    machine = whatif.machine(REAL, pcie="3x1", ram="64gib")
    assert machine.gpus[0].pcie == PcieLink(3, 1)
    assert machine.granted_share is None


@pytest.mark.parametrize("text", ["4x16", "gen4x16", "PCIe 4.0 x16", "4 X 16"])
def test_a_link_is_written_in_many_ways(text: str) -> None:
    assert whatif.pcie_link(text) == PcieLink(4, 16)


@pytest.mark.parametrize("text", ["", "fast", "x16", "4", "0x16", "4x3"])
def test_what_is_no_link_is_told(text: str) -> None:
    with pytest.raises(KitError, match="--pcie"):
        whatif.pcie_link(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [("64gib", 64 * GIB), ("64GB", 64 * 10**9), ("512 MiB", GIB // 2), ("2tib", 2048 * GIB), ("3", 3 * GIB)],
)
def test_sizes_have_units(text: str, size: int) -> None:
    assert whatif.size(text, "--ram") == size


@pytest.mark.parametrize("text", ["", "many", "64 apples", "-3gib", "1e3gib"])
def test_what_is_no_size_is_an_error_that_shows_how(text: str) -> None:
    with pytest.raises(KitError) as error:
        whatif.size(text, "--ram")
    assert "--ram 64gib" in error.value.fix


@pytest.mark.parametrize("text", ["24gib:9", "24gib:ada", "24gib:8.90", "big:8.9"])
def test_what_is_no_gpu_is_an_error(text: str) -> None:
    with pytest.raises(KitError):
        whatif.gpu(text)


def test_only_what_was_given_is_replaced() -> None:
    changed = whatif.machine(REAL, ram="64gib")
    assert changed.gpus == REAL.gpus
    assert changed.findings == REAL.findings
    assert (changed.ram_limit_bytes, changed.ram_available_bytes) == (64 * GIB, 64 * GIB)
    assert changed.disk_free_bytes == REAL.disk_free_bytes


def test_other_gpus_have_none_of_the_real_ones_trouble() -> None:
    changed = whatif.machine(REAL, gpus=["24gib:8.9", "24gib:8.9"])
    assert len({gpu.uuid for gpu in changed.gpus}) == 2
    assert (changed.findings, changed.driver_version) == ((), None)


def test_a_machine_with_other_cards_is_not_judged_by_this_one_s_disk() -> None:
    asked = whatif.machine(REAL, gpus=["24gib:8.9"])
    assert (asked.disk_free_bytes, asked.disk_write_bytes_per_second) == (None, None)
    assert whatif.machine(REAL, gpus=["24gib:8.9"], disk="80gib").disk_free_bytes == 80 * GIB
    assert whatif.machine(REAL, gpus=["none"]).disk_free_bytes == REAL.disk_free_bytes


def test_no_gpu_can_be_asked_for_too() -> None:
    assert whatif.machine(REAL, gpus=["none"], cpus=2.5).gpus == ()
