from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from bootstrap.torch_build import driver, installed
from bootstrap.torch_build.builds import Version


def versions(**packages: str):  # type: ignore[no-untyped-def]
    def version_of(name: str) -> str:
        if name.replace("-", "_") not in packages:
            raise PackageNotFoundError(name)
        return packages[name.replace("-", "_")]

    return version_of


@pytest.mark.parametrize(
    ("packages", "cuda", "title"),
    [
        ({"torch": "2.13.0+cpu"}, None, "torch 2.13.0+cpu"),
        ({"torch": "2.11.0+rocm7.0"}, None, "torch 2.11.0+rocm7.0"),
        ({"torch": "2.11.0+cu130"}, (13, 0), "torch 2.11.0+cu130"),
        ({"torch": "1.13.1+cu117"}, (11, 7), "torch 1.13.1+cu117"),
        ({"torch": "2.11.0", "nvidia_cuda_runtime": "13.0.96"}, (13, 0), "torch 2.11.0 for CUDA 13.0"),
        ({"torch": "2.8.0", "nvidia_cuda_runtime_cu12": "12.8.90"}, (12, 8), "torch 2.8.0 for CUDA 12.8"),
        ({"torch": "2.11.0"}, None, "torch 2.11.0 without CUDA"),
    ],
)
def test_the_cuda_of_the_installed_torch_is_known_without_importing_it(
    packages: dict[str, str], cuda: Version | None, title: str
) -> None:
    found = installed.read(versions(**packages))
    assert found is not None
    assert (found.cuda, found.title) == (cuda, title)


def test_no_torch_is_none() -> None:
    assert installed.read(versions()) is None


@pytest.mark.parametrize(
    ("marks", "replaceable"),
    [
        (["home/installed-core"], True),  # make install
        (["core.sum"], True),  # the pasted line
        (["home/sbom.cdx.json"], True),  # the kit's images
        ([], False),  # somebody's own environment
        (["home/installed-core", "home/installed-dev"], False),  # a developer's
    ],
)
def test_the_torch_of_others_is_left_alone(tmp_path: Path, marks: list[str], replaceable: bool) -> None:
    (tmp_path / "home").mkdir()
    for mark in marks:
        (tmp_path / mark).touch()
    found = installed.read(versions(torch="2.13.0+cpu"), prefix=tmp_path / "home")
    assert found is not None
    assert found.replaceable is replaceable


def test_no_driver_library_is_no_version_and_no_card() -> None:
    assert driver.version(["libthere-is-none.so.1"]) is None
    assert driver.cards(["libthere-is-none.so.1"]) == ()
