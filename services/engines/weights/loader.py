"""Moves stored tensors to where they are wanted: plain reads on a CPU; threads and pinned buffers to a GPU.

One copy through pinned memory, in pieces, beats mapping the file, whose page faults come one by one.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from bootstrap.errors import KitError
from services.engines.start.spans import Spans, file_name
from services.engines.weights.safetensors import Stored, read_into

CHUNK_BYTES = 16 * 1024**2
LARGEST_GAP = 64 * 1024  # bytes read in vain rather than by another call
THREADS = 8  # more only wait for each other
BUFFERS_EACH = 2  # one is filled while the other is copied


@dataclass
class _Chunk:
    """A range of a file and where its parts go."""

    path: Path
    start: int
    end: int
    parts: list[tuple[int, int, Tensor]] = field(default_factory=list)  # from, length, uint8 target


class Loader:
    """Holds the threads' pinned buffers, so that the next load does not pay for them again."""

    def __init__(
        self,
        device: torch.device,
        threads: int = THREADS,
        chunk_bytes: int = CHUNK_BYTES,
        *,
        spans: Spans | None = None,
    ) -> None:
        """``spans`` records when each file was read, and how much of it."""
        self._device = device
        self._threads = threads
        self._chunk_bytes = chunk_bytes
        self._spans = spans
        self._buffers: list[list[Tensor]] = []

    def load(
        self, wanted: Iterable[tuple[Stored, Tensor]], done: Callable[[int], None] = lambda _: None
    ) -> None:
        """Fill each contiguous target with its stored bytes; ``done`` is told the bytes of each piece."""
        pairs = [(stored, target) for stored, target in wanted if stored.nbytes]
        began = time.time()
        self._move(pairs, done)
        if self._spans is not None:
            _record(pairs, began, self._spans)

    def _move(self, pairs: list[tuple[Stored, Tensor]], done: Callable[[int], None]) -> None:
        if self._device.type == "cuda":
            self._load_cuda(_chunks(pairs, self._chunk_bytes), done)
            return
        for stored, target in pairs:
            read_into(target, stored)
            done(stored.nbytes)

    def close(self) -> None:
        """Give the pinned buffers back."""
        self._buffers.clear()

    def _load_cuda(self, chunks: list[_Chunk], done: Callable[[int], None]) -> None:
        if not self._buffers:
            pinned = torch.empty(
                self._threads * BUFFERS_EACH, self._chunk_bytes, dtype=torch.uint8, pin_memory=True
            )
            self._buffers = [list(pinned[i :: self._threads]) for i in range(self._threads)]
        files = {path: os.open(path, os.O_RDONLY) for path in {chunk.path for chunk in chunks}}
        jobs: queue.SimpleQueue[_Chunk] = queue.SimpleQueue()
        for chunk in chunks:
            jobs.put(chunk)
        failures: list[BaseException] = []
        # The targets may still be written or read by what was queued before this call.
        torch.cuda.current_stream(self._device).synchronize()

        def work(buffers: list[Tensor]) -> None:
            try:
                with torch.cuda.device(self._device), torch.inference_mode():  # both are a thread's own
                    _drain(jobs, files, buffers, done, failures)
            except BaseException as failure:  # a thread's failure is raised by the caller
                failures.append(failure)

        threads = [threading.Thread(target=work, args=(mine,), daemon=True) for mine in self._buffers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for file in files.values():
            os.close(file)
        if failures:
            raise failures[0]


def _record(pairs: list[tuple[Stored, Tensor]], began: float, spans: Spans) -> None:
    """The files of one call are read side by side, so each gets its whole time."""
    nbytes: dict[Path, int] = {}
    for stored, _ in pairs:
        nbytes[stored.path] = nbytes.get(stored.path, 0) + stored.nbytes
    for path, count in nbytes.items():
        spans.add(file_name(path), began, time.time(), nbytes=count)


def _drain(
    jobs: queue.SimpleQueue[_Chunk],
    files: dict[Path, int],
    buffers: list[Tensor],
    done: Callable[[int], None],
    failures: list[BaseException],
) -> None:
    stream = torch.cuda.Stream()
    copied: list[torch.cuda.Event | None] = [None] * len(buffers)
    views = [memoryview(buffer.numpy()) for buffer in buffers]  # type: ignore[arg-type]
    turn = 0
    while not failures:
        try:
            chunk = jobs.get_nowait()
        except queue.Empty:
            break
        event = copied[turn]
        if event is not None:
            event.synchronize()
        _read(files[chunk.path], views[turn], chunk)
        with torch.cuda.stream(stream):
            for start, length, target in chunk.parts:
                at = start - chunk.start
                target.copy_(buffers[turn][at : at + length], non_blocking=True)
            event = torch.cuda.Event()
            event.record(stream)
        copied[turn] = event
        turn = (turn + 1) % len(buffers)
        done(sum(length for _, length, _ in chunk.parts))
    stream.synchronize()


def _read(file: int, view: memoryview, chunk: _Chunk) -> None:
    length, count = chunk.end - chunk.start, 0
    while count < length:
        got = os.preadv(file, [view[count:length]], chunk.start + count)
        if not got:
            raise KitError(f"{chunk.path.name} ends at byte {chunk.start + count}", fix="fetch it again")
        count += got


def _chunks(pairs: list[tuple[Stored, Tensor]], chunk_bytes: int) -> list[_Chunk]:
    """Neighbours in a file share a chunk; what is larger than a chunk is cut."""
    chunks: list[_Chunk] = []
    for stored, target in sorted(pairs, key=lambda pair: (str(pair[0].path), pair[0].start)):
        flat = target.reshape(-1).view(torch.uint8)
        at = 0
        while at < stored.nbytes:
            start = stored.start + at
            last = chunks[-1] if chunks else None
            room = last.start + chunk_bytes - start if last and last.path == stored.path else 0
            if last is None or room <= 0 or start - last.end > LARGEST_GAP:
                last = _Chunk(stored.path, start, start)
                chunks.append(last)
                room = chunk_bytes
            length = min(room, stored.nbytes - at)
            last.parts.append((start, length, flat[at : at + length]))
            last.end = start + length
            at += length
    return chunks
