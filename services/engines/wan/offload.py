"""Where the experts' blocks live, and how they come to the GPU in time.

*resident*: all blocks of all experts stay. *swap*: the GPU holds as many blocks as one expert has, and a
block that was used for the last time is replaced by the other expert's while the next ones compute. *stream*:
the same with a few places only. The sequence of uses is known, so nothing is ever guessed.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Placement = Literal["resident", "swap", "stream"]
STREAM_PLACES = 3  # one computes, one is ready, one is filled


@dataclass(frozen=True)
class Key:
    """One block of one expert."""

    role: str
    block: int


class BlockStore:
    """Buffers of uint8 by ``Key``; ``take`` before use, ``give`` after it."""

    def __init__(self, placement: Placement, blocks: int, device: torch.device) -> None:
        self._placement = placement
        self._device = device
        self._blocks = blocks
        self._home: dict[Key, Tensor] = {}  # on the device when resident, else in host memory
        count = (
            0 if placement == "resident" else blocks if placement == "swap" else min(STREAM_PLACES, blocks)
        )
        self._places: list[Tensor | None] = [None] * count
        self._held: list[Key | None] = [None] * count
        self._ready: list[torch.cuda.Event | None] = [None] * count
        self._pinned: list[Tensor] = []
        weakref.finalize(self, _unpin, self._pinned).atexit = False  # the process's end does it faster
        self._side: torch.cuda.Stream | None = None
        if device.type == "cuda" and count:
            self._side = torch.cuda.Stream(device)

    @property
    def resident(self) -> bool:
        return self._placement == "resident"

    def put(self, key: Key, buffer: Tensor) -> None:
        """Keep a filled device buffer (resident), or a copy of it in host memory."""
        if self.resident:
            self._home[key] = buffer
            return
        home = self._home.get(key)
        if home is None or home.numel() != buffer.numel():
            home = self._host_buffer(buffer.numel())
            self._home[key] = home
        home.copy_(buffer)
        self._held = [None if held == key else held for held in self._held]

    def holds(self, key: Key) -> bool:
        """True once the block was put."""
        return key in self._home

    def take(self, key: Key) -> Tensor:
        """The block's bytes on the device; work queued after this call may read them."""
        if self.resident:
            return self._home[key]
        place = key.block % len(self._places)
        if self._held[place] != key:
            self._fill(place, key)
        ready = self._ready[place]
        if ready is not None:
            torch.cuda.current_stream(self._device).wait_event(ready)
        buffer = self._places[place]
        assert buffer is not None
        return buffer[: self._home[key].numel()]

    def give(self, key: Key, next_role: str | None) -> None:
        """Say that all work on the block is queued; its place is filled with what is used there next.

        ``next_role`` is the expert of the next forward, None when nothing is known to follow.
        """
        if self.resident:
            return
        count = len(self._places)
        later = key.block + count
        if later < self._blocks:
            upcoming = Key(key.role, later)
        elif next_role is not None:
            upcoming = Key(next_role, key.block % count)
        else:
            return
        if self._held[key.block % count] != upcoming and upcoming in self._home:
            self._fill(key.block % count, upcoming)

    def _fill(self, place: int, key: Key) -> None:
        source = self._home[key]
        buffer = self._places[place]
        if buffer is None or buffer.numel() < source.numel():
            largest = max(home.numel() for home in self._home.values())
            buffer = self._places[place] = torch.empty(largest, dtype=torch.uint8, device=self._device)
        self._held[place] = key
        if self._side is None:
            buffer[: source.numel()].copy_(source)
            return
        self._side.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._side):
            buffer[: source.numel()].copy_(source, non_blocking=True)
            ready = torch.cuda.Event()
            ready.record(self._side)
        self._ready[place] = ready

    def _host_buffer(self, nbytes: int) -> Tensor:
        """Pinned where there is a GPU; torch's own comes in powers of two, and a third would be lost."""
        buffer = torch.empty(nbytes, dtype=torch.uint8)
        if self._device.type == "cuda":
            buffer.zero_()  # by all threads: pinning would touch one page after the other
            torch.cuda.check_error(torch.cuda.cudart().cudaHostRegister(buffer.data_ptr(), nbytes, 0))
            self._pinned.append(buffer)
        return buffer


def _unpin(buffers: list[Tensor]) -> None:
    """Before the memory is given back, and once nothing copies from it."""
    if buffers:
        torch.cuda.synchronize()
    for buffer in buffers:
        torch.cuda.cudart().cudaHostUnregister(buffer.data_ptr())
    buffers.clear()
