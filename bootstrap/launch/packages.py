"""Python packages that a thin image lacks: installed from pinned files while the weights arrive."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from bootstrap.errors import KitError
from bootstrap.torch_build.decision import Decision

REQUIREMENTS = Path(__file__).parents[2] / "requirements"
# A group is there when its packages can be found; nothing is imported to learn that.
MARKERS = {"gpu": ("diffusers", "transformers", "safetensors", "av"), "ui": ("gradio",), "s3": ("s3fs",)}


def missing(service: str, torch: Decision, results_url: str | None = None) -> list[Path]:
    """The pinned files that bring what a service needs and this Python lacks, in the order to install them.

    ``torch`` says which build is to be installed, if any; ``results_url`` where clips are copied to.
    """
    importlib.invalidate_caches()
    wanted = ["gpu"] + ["ui"] * (service == "ui") + ["s3"] * (results_url or "").startswith("s3:")
    groups = [
        group for group in wanted if any(importlib.util.find_spec(name) is None for name in MARKERS[group])
    ]
    files = [torch.requirements] if torch.requirements else []
    return [REQUIREMENTS / name for name in (*files, *(f"{group}.txt" for group in groups))]


def install(files: Sequence[Path], *, report: Callable[[str], None], options: Sequence[str] = ()) -> None:
    """Install requirement files, telling what is being fetched line by line.

    With uv where it is installed: it fetches side by side what pip fetches one after the other.
    ``options`` are further ones, understood by both. KitError with the installer's last lines when it fails.
    """
    for file in files:
        command = [*_installer(), "--no-deps", *options, *_again(file), "-r", str(file)]
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


def _again(file: Path) -> list[str]:
    """A torch for the CPU counts as the same version as the one with CUDA, so it is installed anew."""
    if not file.name.startswith("torch-"):
        return []
    return ["--reinstall-package", "torch"] if importlib.util.find_spec("uv") else ["--force-reinstall"]


def _installer() -> list[str]:
    if importlib.util.find_spec("uv"):
        return [sys.executable, "-m", "uv", "pip", "install", "--python", sys.executable]
    return [sys.executable, "-m", "pip", "install", "--progress-bar=off", "--no-compile"]
