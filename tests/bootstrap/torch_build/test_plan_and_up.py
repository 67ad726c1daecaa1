"""`kinokit plan` and `kinokit up` on machines as people rent them: a real driver library, a real Python."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import driver, ports

RTX_4090 = "NVIDIA GeForce RTX 4090,24564,24077,487,8,9,ok,0"
RTX_5090 = "NVIDIA GeForce RTX 5090,32607,32000,500,12,0,ok,0"
V100 = "Tesla V100-SXM2-32GB,32768,32400,300,7,0,ok,0"
P40 = "Tesla P40,24576,24300,200,6,1,ok,0"
P4 = "Tesla P4,7680,7500,100,6,1,ok,0"
# The host's memory must not decide on the small machine of the tests.
HOST = ("--ram", "64gib", "--disk", "100gib", "--cpus", "8")

Kinokit = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def pythons(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Path]]:
    made: dict[tuple[str | None, bool], Path] = {}

    def python(torch: str | None, *, is_the_kits: bool = True) -> Path:
        key = (torch, is_the_kits)
        if key not in made:
            made[key] = driver.environment(tmp_path_factory.mktemp("venv"), torch, is_the_kits=is_the_kits)
        return made[key]

    yield python


@pytest.fixture
def kinokit(libraries: Path, tmp_path: Path) -> Kinokit:
    def run(
        python: Path, *arguments: str, number: int = 580, gpus: str = RTX_4090
    ) -> subprocess.CompletedProcess[str]:
        env = driver.variables(libraries, KINOKIT_DATA_DIR=str(tmp_path / "data"))
        return subprocess.run(
            [str(python), "-m", "services.cli", *arguments],
            env={**env, **driver.says(number, gpus)},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    return run


def planned(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert "Traceback" not in done.stderr, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    ("number", "gpus", "file"),
    [
        (535, RTX_4090, "torch-cu128.txt"),
        (550, RTX_4090, "torch-cu128.txt"),
        (570, RTX_5090, "torch-cu128.txt"),
        (580, RTX_4090, "torch-cuda.txt"),
    ],
)
def test_the_plan_says_which_torch_will_be_installed(
    kinokit: Kinokit, pythons: Callable[..., Path], number: int, gpus: str, file: str
) -> None:
    """F2: nothing is there on a fresh box, and the driver decides before a byte of weights."""
    plan = planned(
        kinokit(pythons(None), "plan", "--model", "wan22", "--json", *HOST, number=number, gpus=gpus)
    )
    assert plan["fits"]
    assert plan["torch"]["action"] == "install"
    assert plan["torch"]["requirements"] == file
    assert plan["torch"]["measured"] is (file == "torch-cuda.txt")
    assert plan["machine"]["findings"] == []


def test_a_driver_that_is_too_old_for_all_is_refused_with_numbers_and_remedy(
    kinokit: Kinokit, pythons: Callable[..., Path]
) -> None:
    done = kinokit(pythons(None), "plan", "--model", "wan22", *HOST, number=520)
    assert done.returncode == 2
    assert "520.90.07, which runs CUDA up to 11.8" in done.stderr
    assert "525.60.13 or newer" in done.stderr
    assert "fix: rent a host whose driver runs CUDA 12.0 or newer" in done.stderr


def test_up_stops_on_it_before_anything_is_fetched(
    kinokit: Kinokit, pythons: Callable[..., Path], tmp_path: Path
) -> None:
    done = kinokit(
        pythons(None), "up", "--model", "svd", "--service", "api", "--host", "127.0.0.1",
        "--port", str(ports.free_port()), "--auth", "off", "--detach", number=520,
    )  # fmt: skip
    told = " ".join((done.stdout + done.stderr).split())
    assert done.returncode == 2, told
    assert "driver_too_old" in told
    assert "rent a host whose driver runs CUDA 12.0 or newer" in told
    assert not list((tmp_path / "data").glob("models/**/*.safetensors*"))


@pytest.mark.parametrize("torch", ["2.13.0+cpu", "1.13.1+cu117"])
def test_a_torch_that_does_not_do_is_replaced_in_the_kits_own_environment(
    kinokit: Kinokit, pythons: Callable[..., Path], torch: str
) -> None:
    done = kinokit(pythons(torch), "plan", "--model", "wan22", *HOST, number=550)
    assert done.returncode == 0, done.stderr
    told = " ".join(done.stdout.split())  # lines are folded
    assert f"torch 2.10.0 for CUDA 12.8 will be installed in place of torch {torch}" in told
    assert "measured with a newer one" in told


def test_up_installs_it_before_it_starts_a_worker(
    libraries: Path, pythons: Callable[..., Path], tmp_path: Path
) -> None:
    """No package index is there, so the boot ends with the file that it asked for."""
    offline = {"UV_OFFLINE": "1", "UV_CACHE_DIR": str(tmp_path / "cache"), "PIP_NO_INDEX": "1"}
    env = driver.variables(libraries, KINOKIT_DATA_DIR=str(tmp_path / "data"), **offline)
    command = [str(pythons("2.13.0+cpu")), "-m", "services.cli", "up", "--model", "demo", "--service", "api"]
    with subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(ports.free_port()), "--auth", "off"],
        env={**env, **driver.says(550, RTX_4090)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        told = next((line for line in process.stdout if line.startswith("error:")), "no error")
        process.terminate()
        process.stdout.read()
    assert told.startswith("error: torch-cu128.txt could not be installed")


@pytest.mark.parametrize(
    ("torch", "code"), [("2.13.0+cpu", "torch_without_cuda"), ("1.13.1+cu117", "torch_too_old")]
)
def test_in_somebodys_own_environment_it_is_told_before_the_weights(
    kinokit: Kinokit, pythons: Callable[..., Path], torch: str, code: str
) -> None:
    """F3, and the image with an old torch."""
    done = kinokit(pythons(torch, is_the_kits=False), "plan", "--model", "wan22", *HOST)
    assert done.returncode == 2
    assert f"torch {torch} is installed" in done.stderr
    assert code in done.stderr
    assert "requirements/torch-cuda.txt" in done.stderr


def test_a_demo_runs_on_the_cpu_beside_a_gpu_that_its_torch_does_not_use(
    kinokit: Kinokit, pythons: Callable[..., Path]
) -> None:
    python = pythons("2.13.0+cpu", is_the_kits=False)
    plan = planned(kinokit(python, "plan", "--model", "demo", "--json", *HOST))
    assert plan["fits"]
    assert plan["gpu_groups"] == []
    assert plan["torch"]["action"] == "keep"
    assert [found["code"] for found in plan["machine"]["findings"]] == ["torch_without_cuda"]


@pytest.mark.parametrize(
    ("gpus", "has"), [(V100, "7.0"), (P40, "6.1"), (P4, "6.1")], ids=["V100", "P40", "P4"]
)
def test_an_old_card_is_refused_for_its_capability_not_its_memory(
    kinokit: Kinokit, pythons: Callable[..., Path], gpus: str, has: str
) -> None:
    done = kinokit(pythons(None), "plan", "--model", "wan22", *HOST, gpus=gpus)
    assert done.returncode == 2
    headline, fix = done.stderr.splitlines()[0], done.stderr.splitlines()[-1]
    assert "compute capability 8.0 or newer" in headline
    assert f"has {has}" in headline
    assert "rent a card with compute capability 8.0 or newer (RTX" in fix


def test_what_if_the_driver_were_another(kinokit: Kinokit, pythons: Callable[..., Path]) -> None:
    asked = ("plan", "--model", "wan22", "--json", *HOST, "--gpu", "24gib:8.9")
    assert planned(kinokit(pythons(None), *asked))["torch"]["requirements"] == "torch-cuda.txt"
    old = planned(kinokit(pythons(None), *asked, "--driver", "550"))
    assert old["torch"]["requirements"] == "torch-cu128.txt"
    refused = planned(kinokit(pythons(None), *asked, "--driver", "470"))
    assert refused["refusal"]["fix"].startswith("rent a host whose driver runs CUDA 12.0")
