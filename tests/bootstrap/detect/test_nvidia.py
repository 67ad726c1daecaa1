"""Real ctypes against a small C library that answers as libnvidia-ml does, in a process of its own."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bootstrap.detect import nvidia
from bootstrap.detect.machine import PcieLink
from tests.support import driver

GIB = 1024**3
READ = """
import json, os, sys
from dataclasses import asdict
from pathlib import Path
from bootstrap import detect
machine = detect.read_machine(os.environ, Path(sys.argv[1]), sys=Path(sys.argv[1]), proc=Path("/proc"))
print(json.dumps(asdict(machine)))
"""
RTX_4090 = "NVIDIA GeForce RTX 4090,24564,24077,487,8,9,ok,0"
H100_CUT = "NVIDIA H100 80GB HBM3,81559,80768,791,9,0,ok,2"

Detect = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return driver.library(tmp_path_factory.mktemp("nvml"))


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One that has no torch yet: what is installed then suits the machine."""
    return driver.environment(tmp_path_factory.mktemp("python"), None)


@pytest.fixture
def detect(library: Path, python: Path, tmp_path: Path) -> Detect:
    """Detection in a fresh Python whose driver library is ours."""

    def run(gpus: str = "", **env: str) -> dict[str, Any]:
        done = subprocess.run(
            [str(python), "-c", READ, str(tmp_path)],
            env=driver.variables(library, FAKE_NVML=gpus, **env),
            capture_output=True,
            text=True,
            check=True,
        )
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    return run


def codes(machine: dict[str, Any]) -> list[str]:
    return [finding["code"] for finding in machine["findings"]]


def test_a_gpu_is_described_by_its_driver(detect: Detect) -> None:
    machine = detect(RTX_4090)
    assert machine["gpus"] == [
        {
            "uuid": "GPU-0000",
            "name": "NVIDIA GeForce RTX 4090",
            "vram_total_bytes": 24564 << 20,
            "vram_free_bytes": 24077 << 20,
            "compute_capability": [8, 9],
            "power_limit_watts": 450.0,
            "other_processes_bytes": 0,
            "is_mig_slice": False,
            "pcie": {"generation": 4, "width": 16},
            "compute_share": 1.0,
            "shares_host_memory": False,
        }
    ]
    assert machine["driver_version"] == "580.95.05"
    assert machine["cuda_version"] == [13, 0]
    assert codes(machine) == []


def test_what_the_driver_does_not_say_is_not_known(detect: Detect) -> None:
    machine = detect("Tesla T4,15360,15000,360,7,5,nopower,0")
    assert machine["gpus"][0]["power_limit_watts"] is None


def test_memory_of_other_programs_is_found(detect: Detect) -> None:
    machine = detect("NVIDIA GeForce RTX 3090,24576,10240,500,8,6,ok,0")
    assert machine["gpus"][0]["other_processes_bytes"] == (24576 - 10240 - 500) << 20
    assert codes(machine) == ["gpu_busy"]
    assert "13.5 GiB" in machine["findings"][0]["problem"]


def test_two_gpus_are_two(detect: Detect) -> None:
    assert [gpu["uuid"] for gpu in detect(f"{RTX_4090};{RTX_4090}")["gpus"]] == ["GPU-0000", "GPU-0001"]


def test_a_cut_gpu_is_its_slices_also_when_their_numbers_have_gaps(detect: Detect) -> None:
    machine = detect(H100_CUT)
    assert [gpu["uuid"] for gpu in machine["gpus"]] == ["MIG-0000-0", "MIG-0000-1"]
    assert all(gpu["is_mig_slice"] and gpu["compute_capability"] == [9, 0] for gpu in machine["gpus"])
    assert machine["gpus"][0]["vram_total_bytes"] == (81559 << 20) // 2


@pytest.mark.parametrize(
    ("card", "share"),
    [
        (RTX_4090, 1.0),
        (H100_CUT, 3 / 7),
        ("NVIDIA H100 80GB HBM3,81559,80768,791,9,0,ok,7", 1 / 7),
        ("NVIDIA A100-SXM4-80GB MIG 2g.20gb,81920,81000,500,8,0,old,3", 2 / 7),
        ("NVIDIA A100-SXM4-80GB MIG 1c.3g.40gb,81920,81000,500,8,0,old,2", 1 / 7),
        ("NVIDIA A100-SXM4-80GB,81920,81000,500,8,0,old,3", None),
    ],
)
def test_a_slice_has_its_part_of_the_multiprocessors(detect: Detect, card: str, share: float | None) -> None:
    assert detect(card)["gpus"][0]["compute_share"] == share


@pytest.mark.parametrize(
    ("link", "known"),
    [
        ("3x1", [(3, 1)]),  # a riser of a mining rig; idle, as the library says, it is of generation 1
        ("5x16", [(5, 16)]),
        ("4x16;3x4", [(4, 16), (3, 4)]),
        ("0x0", [None]),
    ],
)
def test_the_way_to_a_card_is_what_it_reaches_at_work(
    detect: Detect, link: str, known: list[tuple[int, int] | None]
) -> None:
    gpus = detect(";".join([RTX_4090] * len(known)), FAKE_PCIE=link)["gpus"]
    found = [gpu["pcie"] and (gpu["pcie"]["generation"], gpu["pcie"]["width"]) for gpu in gpus]
    assert found == known


@pytest.mark.parametrize(
    ("link", "gigabytes"), [((3, 1), 0.8), ((3, 16), 12.8), ((4, 16), 25.6), ((5, 16), 54.4), ((9, 1), 6.8)]
)
def test_a_links_rate_is_what_a_copy_gets(link: tuple[int, int], gigabytes: float) -> None:
    assert PcieLink(*link).bytes_per_second == pytest.approx(gigabytes * 1e9)


def test_a_gpu_without_memory_of_its_own_has_the_hosts(detect: Detect) -> None:
    machine = detect("NVIDIA GB10,0,0,0,12,1,unified,0", FAKE_PCIE="0x0")
    (gpu,) = machine["gpus"]
    assert gpu["shares_host_memory"]
    assert gpu["vram_total_bytes"] == machine["ram_limit_bytes"] > 0
    assert 0 < gpu["vram_free_bytes"] <= machine["ram_limit_bytes"]
    assert codes(machine) == []


def test_a_lost_gpu_is_a_finding_and_the_other_one_is_used(detect: Detect) -> None:
    machine = detect(f"{RTX_4090};NVIDIA GeForce RTX 4090,24564,24077,487,8,9,lost,0")
    assert [gpu["uuid"] for gpu in machine["gpus"]] == ["GPU-0000"]
    assert codes(machine) == ["gpu_lost"]
    assert "GPU 1" in machine["findings"][0]["problem"]


@pytest.mark.parametrize(
    ("allowed", "uuids"),
    [
        ("1", ["GPU-0001"]),
        ("GPU-0001,GPU-0000", ["GPU-0001", "GPU-0000"]),
        ("0,7,1", ["GPU-0000"]),
        ("all", ["GPU-0000", "GPU-0001"]),
    ],
)
def test_cuda_visible_devices_is_obeyed(detect: Detect, allowed: str, uuids: list[str]) -> None:
    machine = detect(f"{RTX_4090};{RTX_4090}", CUDA_VISIBLE_DEVICES=allowed)
    assert [gpu["uuid"] for gpu in machine["gpus"]] == uuids


def test_hidden_gpus_are_said_to_be_hidden(detect: Detect) -> None:
    assert codes(detect(RTX_4090, CUDA_VISIBLE_DEVICES="")) == ["gpus_hidden"]


def test_a_driver_without_gpus(detect: Detect) -> None:
    assert codes(detect("")) == ["zero_gpus"]


def test_a_restarted_pod_without_gpus_is_told_that_it_still_costs(detect: Detect) -> None:
    machine = detect("", RUNPOD_POD_ID="abc")
    assert codes(machine) == ["zero_gpus"]
    assert "billed" in machine["findings"][0]["fix"]


def test_a_kernel_module_of_another_version(detect: Detect) -> None:
    assert codes(detect(RTX_4090, FAKE_NVML_INIT="18")) == ["driver_mismatch"]


def test_a_card_without_a_driver(tmp_path: Path, detect: Detect) -> None:
    device = tmp_path / "bus/pci/devices/0000:01:00.0"
    device.mkdir(parents=True)
    (device / "vendor").write_text("0x10de\n")
    (device / "class").write_text("0x030000\n")
    machine = detect(RTX_4090, FAKE_NVML_INIT="9")
    assert codes(machine) == ["no_driver"]
    assert machine["driver_version"] is None


def test_no_card_at_all(detect: Detect) -> None:
    assert codes(detect(RTX_4090, FAKE_NVML_INIT="9")) == ["no_gpu"]


def test_a_container_that_was_not_given_the_gpu(tmp_path: Path) -> None:
    (tmp_path / "driver/nvidia").mkdir(parents=True)
    (tmp_path / "driver/nvidia/version").write_text("NVRM version: …")
    reading = nvidia.read({}, sys=tmp_path, proc=tmp_path)
    if reading.driver_version is not None:
        pytest.skip("this machine has a driver")
    assert [finding.code for finding in reading.findings] == ["driver_not_in_container"]


READ_WSL = """
import json, os, sys
from dataclasses import asdict
from pathlib import Path
from bootstrap.detect import nvidia
from bootstrap.torch_build import driver
wsl, proc = Path(sys.argv[1]), Path(sys.argv[2])
reading = nvidia.read(os.environ, sys=Path("/nowhere"), proc=proc, wsl=wsl)
cuda = driver.version(["libcuda.so.1", str(wsl / "libcuda.so.1")])
path = driver.library_path({"LD_LIBRARY_PATH": "/mine"}, wsl)
print(json.dumps([asdict(reading), cuda, path]))
"""


def in_wsl(folder: Path, proc: Path, python: Path) -> tuple[dict[str, Any], list[int] | None, dict[str, str]]:
    (proc / "version").write_text("Linux version 6.6.87.2-microsoft-standard-WSL2 (gcc …)")
    env = driver.variables(Path("/nowhere"), FAKE_NVML=RTX_4090)
    done = subprocess.run(
        [str(python), "-c", READ_WSL, str(folder), str(proc)],
        env=env, capture_output=True, text=True, check=True,
    )  # fmt: skip
    reading, cuda, path = json.loads(done.stdout)
    return reading, cuda, path


def test_wsl_keeps_the_driver_where_the_loader_does_not_look(
    library: Path, python: Path, tmp_path: Path
) -> None:
    reading, cuda, path = in_wsl(library, tmp_path, python)
    assert [gpu["name"] for gpu in reading["gpus"]] == ["NVIDIA GeForce RTX 4090"]
    assert reading["driver_version"] == "580.95.05"
    assert cuda == [13, 0]
    assert path == {"LD_LIBRARY_PATH": f"{library}:/mine"}  # for the workers: torch asks the loader


def test_wsl_without_a_driver_in_windows_is_told_where_to_install_it(python: Path, tmp_path: Path) -> None:
    reading, cuda, path = in_wsl(tmp_path, tmp_path, python)
    assert [finding["code"] for finding in reading["findings"]] == ["no_gpu_in_wsl"]
    assert "in Windows" in reading["findings"][0]["fix"]
    assert (cuda, path) == (None, {})


def test_an_old_driver_is_read_from_the_driver_itself(detect: Detect) -> None:
    assert detect(RTX_4090, FAKE_CUDA="12040")["cuda_version"] == [12, 4]
