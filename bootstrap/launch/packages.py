"""Python packages that a thin image lacks: installed from pinned files while the weights arrive."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from bootstrap.errors import KitError

REQUIREMENTS = Path(__file__).parents[2] / "requirements"
# A group is there when its packages can be found; nothing is imported to learn that.
MARKERS = {"torch": ("torch",), "gpu": ("diffusers", "transformers", "safetensors", "av"), "ui": ("gradio",)}


def missing(service: str) -> tuple[str, ...]:
    """The groups of MARKERS that a service needs and this Python lacks, in the order to install them."""
    importlib.invalidate_caches()
    wanted = ("torch", "gpu", "ui") if service == "ui" else ("torch", "gpu")
    return tuple(
        group for group in wanted if any(importlib.util.find_spec(name) is None for name in MARKERS[group])
    )


def requirement_file(group: str, *, with_gpu: bool) -> Path:
    """The pinned file of a group; torch has one with CUDA and one for the CPU."""
    name = ("torch-cuda" if with_gpu else "torch-cpu") if group == "torch" else group
    return REQUIREMENTS / f"{name}.txt"


def missing_files(service: str, *, with_gpu: bool) -> list[Path]:
    """The pinned files of the groups that are missing."""
    return [requirement_file(group, with_gpu=with_gpu) for group in missing(service)]


def install(files: Sequence[Path], *, report: Callable[[str], None], options: Sequence[str] = ()) -> None:
    """Install requirement files, telling what is being fetched line by line.

    With uv where it is installed: it fetches side by side what pip fetches one after the other.
    ``options`` are further ones, understood by both. KitError with the installer's last lines when it fails.
    """
    for file in files:
        command = [*_installer(), "--no-deps", *options, "-r", str(file)]
        lines: list[str] = []
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                lines.append(line.strip())
                if lines[-1].startswith(
                    ("Collecting ", "Downloading ", "Installing ", "Resolved ", "Prepared ")
                ):
                    report(lines[-1].split(" (from")[0])
        if process.returncode != 0:
            last = " | ".join(lines[-4:])
            raise KitError(
                f"{file.name} could not be installed (exit {process.returncode}): {last}",
                fix="check the network and the free disk of this host, then start again;"
                " what was downloaded is kept",
            )


def _installer() -> list[str]:
    if importlib.util.find_spec("uv"):
        return [sys.executable, "-m", "uv", "pip", "install", "--python", sys.executable]
    return [sys.executable, "-m", "pip", "install", "--progress-bar=off", "--no-compile"]
