"""Is the disk or the link what a download waits for?"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bootstrap.fetch.transfers.bottleneck import Bottleneck
from tests.bootstrap.fetch.conftest import BIG, MIB, Model

MB = 1_000_000
THROTTLE = Path("/sys/fs/cgroup/blkio/blkio.throttle.write_bps_device")


def seen(*seconds: tuple[float, float, int]) -> Bottleneck:
    """For each second the MB received, the part of the connections' time spent writing, and how many."""
    limit, now, received, writing = Bottleneck(), 0.0, 0, 0.0
    limit.see(now, received=0, write_seconds=0.0, connections=0)
    for rate, share, connections in seconds:
        for _ in range(20):
            now, received = now + 0.05, received + int(rate * MB / 20)
            writing += share * connections / 20
            limit.see(now, received=received, write_seconds=writing, connections=connections)
    return limit


def test_a_disk_that_keeps_up_is_not_mentioned() -> None:
    assert seen(*[(900, 0.1, 16)] * 10).note() is None
    assert seen(*[(900, 0.4, 16)] * 10).note() is None, "busy cores make writing look slow too"


def test_a_disk_slower_than_the_link_is_told_with_both_rates() -> None:
    limit = seen(*[(900, 0.1, 16)] * 3, *[(180, 0.9, 16)] * 5)
    assert limit.note() == "disk 180 MB/s is slower than the link 900 MB/s"


def test_a_moment_is_not_enough() -> None:
    assert seen(*[(900, 0.1, 16)] * 3, (180, 0.9, 16), *[(900, 0.1, 16)] * 3).note() is None


def test_a_disk_nearly_as_fast_as_the_link_is_not_mentioned() -> None:
    assert seen(*[(200, 0.1, 16)] * 3, *[(190, 0.6, 16)] * 5).note() is None


def test_where_the_link_was_never_seen_only_the_disk_is_told() -> None:
    limit = seen(*[(56, 0.95, 8)] * 6)
    assert limit.note() == "the disk takes 56 MB/s and is what the download waits for"


def test_writing_out_what_memory_has_taken_is_told_while_it_lasts() -> None:
    limit, downloaded = Bottleneck(), 500 * MB
    notes = []
    with limit.flushing():
        for tick in range(120):
            limit.see(tick / 20, received=downloaded, write_seconds=1.0, connections=0)
            notes.append(limit.note())
    assert notes[:40] == [None] * 40
    assert notes[-1] == "all has arrived; the disk still writes it out"
    assert limit.note() is None


@pytest.fixture
def slow_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own that takes 4 MB a second and answers when it has them, as a network volume does."""
    image, place = tmp_path / "disk.img", tmp_path / "disk"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(256 * MIB)
    if os.geteuid() != 0 or not THROTTLE.exists():
        pytest.skip("a slow disk needs root and the blkio controller")
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    device = subprocess.run(["losetup", "--find", "--show", image], capture_output=True, text=True)
    if device.returncode:
        pytest.skip("a slow disk needs loop devices")
    name = device.stdout.strip()
    number = Path("/sys/block", Path(name).name, "dev").read_text().strip()
    subprocess.run(["mount", "-o", "sync", name, place], check=True)
    THROTTLE.write_text(f"{number} {4 * MB}")
    yield place
    THROTTLE.write_text(f"{number} 0")
    subprocess.run(["umount", "-l", place], check=True)
    subprocess.run(["losetup", "--detach", name], check=True)


def test_a_really_slow_disk_is_named_while_the_download_runs_and_after_it(
    model: Model, slow_disk: Path
) -> None:
    model = replace(model.only(BIG), store=slow_disk / "models")
    model.fetch()
    notes = [report.note for report in model.reports if report.note]
    assert any("the disk takes" in note or "is slower than the link" in note for note in notes), notes
    assert model.reports[-1].note == notes[-1]
