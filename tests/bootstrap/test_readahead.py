"""What lies on the disk is in memory when the workers ask for it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bootstrap.readahead import PIECE_BYTES, Readahead

MANY = 2**40


@pytest.fixture
def cold(tmp_path: Path) -> Path:
    """A file of five pieces and a bit, none of it in memory."""
    path = tmp_path / "weights.safetensors"
    path.write_bytes(os.urandom(5 * PIECE_BYTES + 123))
    _forget(path)
    if _in_memory(path):
        pytest.skip("this file system keeps everything in memory")
    return path


def _forget(path: Path) -> None:
    file = os.open(path, os.O_RDONLY)
    os.fsync(file)
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(file)


def _in_memory(path: Path) -> list[int]:
    """The numbers of the pieces whose first page is in memory."""
    file = os.open(path, os.O_RDONLY)
    found = []
    for number in range(6):
        try:
            os.preadv(file, [bytearray(100)], number * PIECE_BYTES, os.RWF_NOWAIT)
        except BlockingIOError:
            continue
        found.append(number)
    os.close(file)
    return found


def test_a_file_is_in_memory_afterwards(cold: Path) -> None:
    ahead = Readahead([cold], MANY)
    ahead.join(60)
    assert _in_memory(cold) == [0, 1, 2, 3, 4, 5]
    assert ahead.read_bytes >= 5 * PIECE_BYTES  # the bit may come with the piece before it


def test_what_is_in_memory_is_not_read_again(cold: Path) -> None:
    Readahead([cold], MANY).join(60)
    again = Readahead([cold], MANY)
    again.join(60)
    assert again.read_bytes == 0


def test_half_of_the_free_memory_is_left_alone(cold: Path) -> None:
    ahead = Readahead([cold], 4 * PIECE_BYTES)
    ahead.join(60)
    assert ahead.read_bytes == 2 * PIECE_BYTES


@pytest.mark.parametrize("free_bytes", [None, 0])
def test_nothing_is_read_where_the_free_memory_is_not_known(cold: Path, free_bytes: int | None) -> None:
    ahead = Readahead([cold], free_bytes)
    ahead.join(60)
    assert ahead.read_bytes == 0


def test_a_file_that_is_not_there_is_passed_over(cold: Path) -> None:
    ahead = Readahead([cold.with_name("gone"), cold], MANY)
    ahead.join(60)
    assert ahead.read_bytes >= 5 * PIECE_BYTES  # the bit may come with the piece before it
