"""Whether the driver suits the CUDA that the installed torch was built for, without importing torch."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import metadata

from bootstrap.detect.machine import Finding

# The oldest driver of each CUDA major version; within one major any driver of that major runs every build.
# https://docs.nvidia.com/deploy/cuda-compatibility/
OLDEST_DRIVER = {11: "450.80.02", 12: "525.60.13", 13: "580.65.06"}
RUNTIMES = (
    "nvidia-cuda-runtime",
    "nvidia-cuda-runtime-cu13",
    "nvidia-cuda-runtime-cu12",
    "nvidia-cuda-runtime-cu11",
)


def installed(version_of: Callable[[str], str] = metadata.version) -> tuple[int, int] | None:
    """CUDA of the installed torch, ``(13, 0)``; None for a CPU build or no torch.

    The wheels of download.pytorch.org have it in their version ("2.11.0+cu130"); those of PyPI do not, and
    bring the runtime as a package.
    """
    try:
        torch = version_of("torch")
    except metadata.PackageNotFoundError:
        return None
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


def findings(
    driver_cuda: tuple[int, int] | None,
    driver_version: str | None,
    build: tuple[int, int] | Callable[[], tuple[int, int] | None] | None = installed,
) -> tuple[Finding, ...]:
    """One finding when the driver is too old for the build, none when it suits or nothing is known."""
    build = build() if callable(build) else build
    if build is None or driver_version is None:
        return ()
    if driver_cuda is not None:
        suits = driver_cuda[0] >= build[0]
    else:
        suits = _numbers(driver_version) >= _numbers(OLDEST_DRIVER.get(build[0], "0"))
    if suits:
        return ()
    runs = f", which runs CUDA up to {driver_cuda[0]}.{driver_cuda[1]}" if driver_cuda else ""
    oldest = OLDEST_DRIVER.get(build[0])
    needs = f"needs driver {oldest} or newer" if oldest else "needs a newer driver"
    return (
        Finding(
            "driver_too_old",
            f"the driver is {driver_version}{runs}; the installed torch is built for"
            f" CUDA {build[0]}.{build[1]} and {needs}",
            f"rent a host with CUDA {build[0]}.0 or newer (a filter of the marketplace), update the driver,"
            f" or install a torch built for CUDA {driver_cuda[0] if driver_cuda else 12} (TORCH_INDEX_URL)",
        ),
    )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))
