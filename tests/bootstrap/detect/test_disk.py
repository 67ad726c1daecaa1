from __future__ import annotations

import shutil
from pathlib import Path

from bootstrap import detect
from bootstrap.detect import disk


def test_free_space_of_a_directory_that_is_yet_to_be_made(tmp_path: Path) -> None:
    free = disk.free_bytes(tmp_path / "not" / "yet")
    assert free is not None
    assert abs(free - shutil.disk_usage(tmp_path).free) < 512 * 1024**2
    assert list(tmp_path.iterdir()) == []


def test_the_probe_measures_and_leaves_nothing(tmp_path: Path) -> None:
    rates = disk.rates(tmp_path, most_seconds=0.5)
    assert rates.write is not None
    assert rates.write > 1_000_000
    assert rates.read is not None
    assert rates.read > 1_000_000
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_cannot_be_written_has_no_rate(tmp_path: Path) -> None:
    assert disk.rates(tmp_path / "none") == disk.Rates(None, None)


def test_a_slow_disk_is_found_and_a_fast_one_is_not(tmp_path: Path) -> None:
    (finding,) = disk.findings(tmp_path, 20e6)
    assert "20 MB a second: each GB takes 50 s" in finding.problem
    assert disk.findings(tmp_path, 1e9) == ()
    assert disk.findings(tmp_path, None) == ()


def test_the_probe_runs_only_when_it_is_asked_for(tmp_path: Path) -> None:
    assert detect.read_machine({}, tmp_path).disk_write_bytes_per_second is None
    assert detect.read_machine({}, tmp_path, probe_disk=True).disk_write_bytes_per_second is not None
