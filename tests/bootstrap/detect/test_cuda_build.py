from __future__ import annotations

from importlib.metadata import PackageNotFoundError

import pytest

from bootstrap.detect import cuda_build, cuda_driver

CU = tuple[int, int]


def versions(**installed: str):  # type: ignore[no-untyped-def]
    def version_of(name: str) -> str:
        if name.replace("-", "_") not in installed:
            raise PackageNotFoundError(name)
        return installed[name.replace("-", "_")]

    return version_of


@pytest.mark.parametrize(
    ("packages", "build"),
    [
        ({}, None),
        ({"torch": "2.13.0+cpu"}, None),
        ({"torch": "2.11.0+rocm7.0"}, None),
        ({"torch": "2.11.0+cu130"}, (13, 0)),
        ({"torch": "2.8.0+cu128"}, (12, 8)),
        ({"torch": "2.11.0", "nvidia_cuda_runtime": "13.0.96"}, (13, 0)),
        ({"torch": "2.8.0", "nvidia_cuda_runtime_cu12": "12.8.90"}, (12, 8)),
        ({"torch": "2.11.0"}, None),
    ],
)
def test_the_cuda_of_the_installed_torch_is_known_without_importing_it(
    packages: dict[str, str], build: CU | None
) -> None:
    assert cuda_build.installed(versions(**packages)) == build


@pytest.mark.parametrize(
    ("driver_cuda", "driver", "build", "codes"),
    [
        ((13, 0), "580.95.05", (13, 0), []),
        ((13, 1), "590.10", (12, 8), []),  # a newer driver runs older builds
        ((12, 4), "550.90.07", (12, 8), []),  # within one major version any driver does
        ((12, 9), "575.57.08", (13, 0), ["driver_too_old"]),
        ((11, 8), "520.61.05", (12, 4), ["driver_too_old"]),
        (None, "575.57.08", (13, 0), ["driver_too_old"]),  # only the driver's number is known
        (None, "580.65.06", (13, 0), []),
        ((12, 9), "575.57.08", None, []),  # a CPU build of torch
        (None, None, (13, 0), []),  # no driver: another finding says so
    ],
)
def test_a_driver_that_is_too_old_is_found(
    driver_cuda: CU | None, driver: str | None, build: CU | None, codes: list[str]
) -> None:
    assert [found.code for found in cuda_build.findings(driver_cuda, driver, build)] == codes


def test_the_finding_names_both_versions_and_the_oldest_driver_that_suits() -> None:
    (finding,) = cuda_build.findings((12, 9), "575.57.08", (13, 0))
    assert "575.57.08" in finding.problem
    assert "CUDA 13.0" in finding.problem
    assert "580.65.06" in finding.problem


def test_no_driver_library_is_no_version() -> None:
    assert cuda_driver.version("libthere-is-none.so.1") is None
