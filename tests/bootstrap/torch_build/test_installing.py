"""A torch that does not do is replaced for real: by the installer that a box has, from a wheel, in a venv."""

from __future__ import annotations

import hashlib
import subprocess
import zipfile
from pathlib import Path

import pytest

from tests.support import driver

INSTALL = """
import sys
from pathlib import Path
from bootstrap.launch import packages
packages.install([Path(sys.argv[1])], report=print)
"""
VERSION = "from importlib.metadata import version; print(version('torch'))"


@pytest.fixture
def pinned(tmp_path: Path) -> Path:
    """A requirement file as those of the kit, and the wheel that it names beside it."""
    wheel = tmp_path / "torch-2.13.0-py3-none-any.whl"
    about = "torch-2.13.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr("torch/__init__.py", "")
        file.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: torch\nVersion: 2.13.0\n")
        file.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{about}/RECORD", f"torch/__init__.py,,\n{about}/RECORD,,\n")
    requirements = tmp_path / "torch-cuda.txt"
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    requirements.write_text(f"torch==2.13.0 \\\n    --hash=sha256:{digest}\n")
    return requirements


@pytest.mark.parametrize(
    ("installer", "there"), [("uv", "2.13.0+cpu"), ("uv", "1.13.1+cu117"), ("pip", "2.13.0+cpu")]
)
def test_the_pinned_torch_takes_the_place_of_the_one_that_is_there(
    tmp_path: Path, pinned: Path, installer: str, there: str
) -> None:
    python = driver.environment(tmp_path / "venv", there, without=() if installer == "uv" else ("uv",))
    env = driver.variables(
        tmp_path,
        UV_NO_INDEX="1",
        UV_FIND_LINKS=str(tmp_path),
        UV_CACHE_DIR=str(tmp_path / "cache"),
        UV_OFFLINE="1",
        PIP_NO_INDEX="1",
        PIP_FIND_LINKS=str(tmp_path),
        PIP_CONFIG_FILE="/dev/null",
    )
    done = subprocess.run(
        [str(python), "-c", INSTALL, str(pinned)], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    told = subprocess.run([str(python), "-c", VERSION], env=env, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "2.13.0"
