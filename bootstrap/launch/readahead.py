"""Files that lie on the volume already, read into memory's page cache while the workers still import torch.

Imports take seconds in which the disk would do nothing, and a disk is slower than loading.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

PIECE_BYTES = 8 * 1024**2
ROOM_SHARE = 0.5  # of the memory that is free: the workers want some, too


def begin(paths: Iterable[Path], free_bytes: int | None) -> Readahead:
    """Read in the order given, no more than fits. ``free_bytes``: of memory, None when not known: nothing."""
    started = Readahead(paths, free_bytes)
    started.start()
    return started


class Readahead:
    """A thread that ends with the files or with the process.

    One thread: four were done no sooner, and took the disk from the imports (20 to 23 s instead of 17).
    """

    def __init__(self, paths: Iterable[Path], free_bytes: int | None) -> None:
        self._paths = list(paths)
        self._room_bytes = int((free_bytes or 0) * ROOM_SHARE)
        self.read_bytes = 0  # from the disk: what was in memory is passed over
        self._thread = threading.Thread(target=self._work, name="readahead", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def join(self, seconds: float | None = None) -> None:
        """Wait for the end, so long."""
        self._thread.join(seconds)

    def _work(self) -> None:
        buffer = bytearray(PIECE_BYTES)
        for path, start in self._pieces():
            self._room_bytes -= PIECE_BYTES
            if self._room_bytes < 0:
                return
            with suppress(OSError):
                self.read_bytes += _read(path, start, buffer)

    def _pieces(self) -> Iterator[tuple[Path, int]]:
        for path in self._paths:
            with suppress(OSError):
                for start in range(0, path.stat().st_size, PIECE_BYTES):
                    yield path, start


def _read(path: Path, start: int, buffer: bytearray) -> int:
    """Bytes read; 0 where the piece is in memory already."""
    file = os.open(path, os.O_RDONLY)
    try:
        length = min(PIECE_BYTES, os.fstat(file).st_size - start)
        if length <= 0 or _in_memory(file, start, length):
            return 0
        return os.preadv(file, [memoryview(buffer)[:length]], start)
    finally:
        os.close(file)


def _in_memory(file: int, start: int, length: int) -> bool:
    """Whether every page of it is; False where the system cannot say.

    A read that may not wait (RWF_NOWAIT) is no answer: it makes the kernel read the page that it asks for.
    """
    pages = (ctypes.c_ubyte * -(-length // mmap.PAGESIZE))()
    try:
        with mmap.mmap(file, length, access=mmap.ACCESS_COPY, offset=start) as mapped:
            first = ctypes.c_char.from_buffer(mapped)
            failed = _libc.mincore(ctypes.c_void_p(ctypes.addressof(first)), ctypes.c_size_t(length), pages)
            del first  # the mapping cannot be closed while it is pointed to
    except (OSError, AttributeError):
        return False
    return not failed and all(page & 1 for page in pages)


_libc = ctypes.CDLL(None)
