"""The torch that is there, and whether the kit may replace it; nothing is imported to learn that."""

from __future__ import annotations

import os
import re
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from bootstrap.torch_build.builds import Version, written

RUNTIMES = (
    "nvidia-cuda-runtime",
    "nvidia-cuda-runtime-cu13",
    "nvidia-cuda-runtime-cu12",
    "nvidia-cuda-runtime-cu11",
)
# What the kit leaves in or beside a virtual environment that it made: install.sh, start.sh and the images.
MARKS_OF_THE_KIT = ("installed-core", "../core.sum", "sbom.cdx.json")
MARK_OF_A_DEVELOPER = "installed-dev"  # who chose the torch for the tests


@dataclass(frozen=True)
class Torch:
    """One that is installed. ``cuda`` is what it was built for; None: a build without CUDA."""

    version: str  # as it is installed: "2.11.0+cu130"
    cuda: Version | None
    replaceable: bool = False  # it lies in, or behind, a virtual environment that is the kit's own

    @property
    def title(self) -> str:
        local = self.version.partition("+")[2]
        if self.cuda is None:
            return f"torch {self.version}" if local else f"torch {self.version} without CUDA"
        return f"torch {self.version}" if local else f"torch {self.version} for CUDA {written(self.cuda)}"

    @property
    def release(self) -> Version:
        major, minor, *_ = (*(int(part) for part in re.findall(r"\d+", self.version)), 0, 0)
        return major, minor


def read(version_of: Callable[[str], str] = metadata.version, prefix: Path | None = None) -> Torch | None:
    """The torch of this Python; None when there is none.

    The wheels of PyTorch's own index have CUDA in their version ("2.11.0+cu130"); those of PyPI do not, and
    bring the runtime as a package.
    """
    try:
        torch = version_of("torch")
    except metadata.PackageNotFoundError:
        return None
    return Torch(torch, _cuda(torch, version_of), _is_the_kits(prefix))


def _cuda(torch: str, version_of: Callable[[str], str]) -> Version | None:
    local = re.search(r"\+cu(\d+)(\d)$", torch)
    if local:
        return int(local[1]), int(local[2])
    if "+" in torch:
        return None  # +cpu, +rocm…
    for name in RUNTIMES:
        try:
            major, minor, *_ = version_of(name).split(".")
        except metadata.PackageNotFoundError:
            continue
        return int(major), int(minor)
    return None


def _is_the_kits(prefix: Path | None) -> bool:
    """Others' environments, developers' included, are left alone: what else runs there may need its torch."""
    if prefix is None:
        prefix = Path(sys.prefix)
        if sys.prefix == sys.base_prefix or not os.access(sysconfig.get_path("purelib"), os.W_OK):
            return False
    made_by_the_kit = any((prefix / mark).exists() for mark in MARKS_OF_THE_KIT)
    return made_by_the_kit and not (prefix / MARK_OF_A_DEVELOPER).exists()
