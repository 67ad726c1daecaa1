"""A machine's NVIDIA driver and the torch of a Python, as a test wants them: real libraries, real venvs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from bootstrap.torch_build import installed

SOURCE = Path(__file__).parents[1] / "bootstrap/detect/fake_nvml.c"
ROOT = Path(__file__).parents[2]
# Of the environment of the tests, all but the torch is seen in one that a test makes.
BRINGS_TORCH = ("torch", "nvidia_c", "nvidia_n", "triton", "functorch", "__pycache__", "__editable__")
NEWEST_CUDA = {
    520: 11080,
    525: 12000,
    535: 12020,
    550: 12040,
    560: 12060,
    570: 12080,
    580: 13000,
    590: 13010,
}


def library(folder: Path) -> Path:
    """The folder with ``fake_nvml.c`` as libnvidia-ml and as libcuda, for LD_LIBRARY_PATH."""
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc")
    made = folder / "libnvidia-ml.so.1"
    subprocess.run(
        ["gcc", "-shared", "-fPIC", "-Wall", "-Wl,-soname,libnvidia-ml.so.1", "-o", str(made), str(SOURCE)],
        check=True,
    )
    shutil.copy(made, folder / "libcuda.so.1")
    return folder


def says(number: int, gpus: str) -> dict[str, str]:
    """The variables by which the library has a driver of this branch and these GPUs."""
    return {"FAKE_DRIVER": f"{number}.90.07", "FAKE_CUDA": str(NEWEST_CUDA[number]), "FAKE_NVML": gpus}


def environment(
    folder: Path, torch: str | None, *, is_the_kits: bool = True, without: tuple[str, ...] = ()
) -> Path:
    """A new virtual environment that holds what the tests' own holds, but this torch: "2.13.0+cpu", or none.

    Returns its Python. The torch is there by name alone; nothing can import it. ``without``: packages that
    are left out, too.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    site = next(folder.glob("lib/python*/site-packages"))
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if not path.name.startswith((*BRINGS_TORCH, *without)):
            (site / path.name).symlink_to(path)
    uv = Path(sys.prefix) / "bin/uv"
    if uv.exists() and "uv" not in without:
        (folder / "bin/uv").symlink_to(uv)
    if torch is not None:
        about = site / f"torch-{torch}.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: torch\nVersion: {torch}\n")
        names = ("METADATA", "RECORD")
        (about / "RECORD").write_text("".join(f"{about.name}/{name},,\n" for name in names))
    if is_the_kits:
        (folder / installed.MARKS_OF_THE_KIT[0]).touch()
    return folder / "bin/python"


def variables(libraries: Path, **more: str) -> dict[str, str]:
    """An environment for a process that sees these driver libraries and this checkout, and no settings."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {**kept, "PYTHONPATH": str(ROOT), "LD_LIBRARY_PATH": str(libraries), **more}
