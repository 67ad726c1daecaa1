"""Full, read-only and missing disks."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bootstrap.errors import KitError
from tests.bootstrap.fetch.conftest import BIG, MIB, Model


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """30 MiB of tmpfs."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=30m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting a tmpfs needs root")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_disk_that_is_too_small_is_told_before_the_first_byte(model: Model, small_disk: Path) -> None:
    model = replace(model, store=small_disk / "models")
    with pytest.raises(KitError, match=r"needs 0\.04 GB more on the disk .* 0\.03 GB are free"):
        model.fetch()
    assert model.server.bytes_sent() == 0


def fill(disk: Path) -> None:
    """Another program takes all that is free."""
    with pytest.raises(OSError), (disk / "hog").open("wb") as file:
        while True:
            file.write(bytes(64 * 1024))
            file.flush()


def test_a_disk_that_others_fill_midway_is_an_error_and_nothing_is_half_named(
    model: Model, small_disk: Path
) -> None:
    subprocess.run(["mount", "-o", "remount,size=60m", str(small_disk)], check=True)
    model = replace(model, store=small_disk / "models")
    model.server.bytes_per_second = 2 * MIB
    timer = threading.Timer(0.5, fill, (small_disk,))
    timer.start()
    with pytest.raises(KitError, match=r"is full: 0\.00 GiB are free"):
        model.fetch()
    timer.join()
    assert not (model.home / BIG).exists()
    (small_disk / "hog").unlink()
    model.server.bytes_per_second = None
    assert model.is_right(model.fetch()), "with more space the next start goes on"


def test_a_read_only_target_is_a_clear_error(model: Model, small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(KitError, match="cannot be written to"):
        replace(model, store=small_disk / "models").fetch()


def test_a_target_that_is_a_file_is_a_clear_error(model: Model, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(KitError, match=r"writing to .* failed"):
        replace(model, store=tmp_path / "file").fetch()
