"""Shell scripts ask which torch to install before any package is there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import driver

ADA = "NVIDIA GeForce RTX 4090,24564,24077,487,8,9,ok,0"
BLACKWELL = "NVIDIA GeForce RTX 5090,32607,32000,500,12,0,ok,0"


def ask(libraries: Path, **env: str) -> tuple[str, str]:
    done = subprocess.run(
        [sys.executable, "-S", "-m", "bootstrap.torch_build"],
        cwd=driver.ROOT,
        env=driver.variables(libraries, **env),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip(), done.stderr


@pytest.mark.parametrize(
    ("number", "gpus", "file"),
    [
        (580, ADA, "torch-cuda.txt"),
        (550, ADA, "torch-cu128.txt"),
        (570, f"{ADA};{BLACKWELL}", "torch-cu128.txt"),
        (580, "", "torch-cpu.txt"),
    ],
)
def test_the_file_is_told_with_the_standard_library_alone(
    libraries: Path, number: int, gpus: str, file: str
) -> None:
    assert ask(libraries, **driver.says(number, gpus)) == (file, "")


def test_a_machine_without_a_driver_gets_the_torch_for_the_cpu(tmp_path: Path) -> None:
    assert ask(tmp_path) == ("torch-cpu.txt", "")


def test_a_driver_that_is_too_old_is_told_and_the_torch_for_the_cpu_taken(libraries: Path) -> None:
    file, told = ask(libraries, **driver.says(520, ADA))
    assert file == "torch-cpu.txt"
    assert "520.90.07" in told or "CUDA up to 11.8" in told
    assert "fix: rent a host whose driver runs CUDA 12.0" in told
