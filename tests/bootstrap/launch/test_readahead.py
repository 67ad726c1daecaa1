"""What lies on the disk is in memory when the workers ask for it."""

from __future__ import annotations

import ctypes
import mmap
import os
import time
from pathlib import Path

import pytest

from bootstrap.launch import readahead
from bootstrap.launch.readahead import PIECE_BYTES

MANY = 2**40


@pytest.fixture
def cold(tmp_path: Path) -> Path:
    """A file of five pieces and a bit, none of it in memory."""
    path = tmp_path / "weights.safetensors"
    path.write_bytes(os.urandom(5 * PIECE_BYTES + 123))
    end = time.monotonic() + 20
    while _in_memory(path) and time.monotonic() < end:  # pages that are still being written stay for a moment
        _forget(path)
    assert not _in_memory(path), "this file system keeps everything in memory"
    return path


def _forget(path: Path) -> None:
    file = os.open(path, os.O_RDONLY)
    os.fsync(file)
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(file)


def _in_memory(path: Path) -> int:
    """How many of its bytes are in memory, by pages; a read that may not wait would fetch some itself."""
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        pages = (ctypes.c_ubyte * -(-len(mapped) // mmap.PAGESIZE))()
        start = ctypes.c_char.from_buffer(mapped)
        where, count = ctypes.c_void_p(ctypes.addressof(start)), ctypes.c_size_t(len(mapped))
        failed = ctypes.CDLL(None).mincore(where, count, pages)
        del start
    assert not failed
    return sum(page & 1 for page in pages) * mmap.PAGESIZE


def whole(path: Path) -> bool:
    """Whether all of it is in memory, or is in a moment: the kernel reads on by itself."""
    end = time.monotonic() + 20
    while _in_memory(path) < path.stat().st_size and time.monotonic() < end:
        time.sleep(0.05)
    return _in_memory(path) >= path.stat().st_size


def test_a_file_is_in_memory_afterwards(cold: Path) -> None:
    readahead.begin([cold], MANY).join(60)
    assert whole(cold)


def test_a_piece_of_which_only_the_end_is_in_memory_is_read(cold: Path) -> None:
    """Asking whether a page is there may bring it: it says nothing of the others."""
    file = os.open(cold, os.O_RDONLY)
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_RANDOM)  # one page at a time
    for end in range(PIECE_BYTES, cold.stat().st_size, PIECE_BYTES):
        os.pread(file, 1, end - 1)
    os.close(file)
    assert 0 < _in_memory(cold) < cold.stat().st_size
    readahead.begin([cold], MANY).join(60)
    assert whole(cold)


def test_what_is_in_memory_is_not_read_again(cold: Path) -> None:
    readahead.begin([cold], MANY).join(60)
    assert whole(cold)
    again = readahead.begin([cold], MANY)
    again.join(60)
    assert again.read_bytes == 0


def test_half_of_the_free_memory_is_left_alone(cold: Path) -> None:
    """But for what the kernel reads on by itself."""
    readahead.begin([cold], 4 * PIECE_BYTES).join(60)
    assert 2 * PIECE_BYTES <= _in_memory(cold) <= 4 * PIECE_BYTES


@pytest.mark.parametrize("free_bytes", [None, 0])
def test_nothing_is_read_where_the_free_memory_is_not_known(cold: Path, free_bytes: int | None) -> None:
    readahead.begin([cold], free_bytes).join(60)
    assert _in_memory(cold) == 0


def test_a_file_that_is_not_there_is_passed_over(cold: Path) -> None:
    readahead.begin([cold.with_name("gone"), cold], MANY).join(60)
    assert whole(cold)
