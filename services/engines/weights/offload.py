"""Weights that lie in host memory and come to the GPU when they are needed.

``Offload`` serves parts that are used in a known sequence: the GPU has a few slots, and a part whose use is
over is replaced while the next ones compute. ``Streamed`` puts a module's units through it. ``Visiting``
brings a whole module for as long as it is called.
"""
# PyTorch's streams and events have no types.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from services.engines.weights import flat_buffer

STREAM_SLOTS = 3  # one computes, one is ready, one is filled
UNIT_ALIGNMENT = 256  # what cuBLAS and cuDNN like best


@dataclass(frozen=True)
class Key:
    """One part of one sequence: for example a block of an expert."""

    sequence: str
    number: int


class Offload:
    """Buffers of uint8 by ``Key``: ``acquire`` before use, ``release`` after it.

    Each sequence has ``count`` parts, used in order; part n uses slot n modulo ``slots``. With no slots
    everything stays on the device.
    """

    def __init__(self, count: int, slots: int, device: torch.device) -> None:
        self._count = count
        self._device = device
        slots = min(slots, count)
        self._home: dict[Key, Tensor] = {}  # on the device when resident, else in host memory
        self._slots: list[Tensor | None] = [None] * slots
        self._held: list[Key | None] = [None] * slots
        self._ready: list[torch.cuda.Event | None] = [None] * slots
        self._pins = Pins(device)
        self._side = torch.cuda.Stream(device) if device.type == "cuda" and slots else None

    @property
    def resident(self) -> bool:
        return not self._slots

    def put(self, key: Key, buffer: Tensor) -> None:
        """Keep a filled device buffer (resident), or a copy of it in host memory."""
        if self.resident:
            self._home[key] = buffer
            return
        home = self._home.get(key)
        if home is None or home.numel() != buffer.numel():
            home = self._home[key] = self._pins.buffer(buffer.numel())
        home.copy_(buffer)
        self._held = [None if held == key else held for held in self._held]

    def holds(self, key: Key) -> bool:
        """True once the part was put."""
        return key in self._home

    def acquire(self, key: Key) -> Tensor:
        """The part's bytes on the device; work queued after this call may read them."""
        if self.resident:
            return self._home[key]
        slot = key.number % len(self._slots)
        if self._held[slot] != key:
            self._fill(slot, key)
        ready = self._ready[slot]
        if ready is not None:
            torch.cuda.current_stream(self._device).wait_event(ready)
        buffer = self._slots[slot]
        assert buffer is not None
        return buffer[: self._home[key].numel()]

    def release(self, key: Key, next_sequence: str | None) -> None:
        """Say that all work on the part is queued; its slot is filled with what is used there next.

        ``next_sequence`` follows when this one has ended; None when nothing is known to follow.
        """
        if self.resident:
            return
        slots = len(self._slots)
        later = key.number + slots
        if later < self._count:
            upcoming = Key(key.sequence, later)
        elif next_sequence is not None:
            upcoming = Key(next_sequence, key.number % slots)
        else:
            return
        if self._held[key.number % slots] != upcoming and upcoming in self._home:
            self._fill(key.number % slots, upcoming)

    def _fill(self, slot: int, key: Key) -> None:
        source = self._home[key]
        buffer = self._slots[slot]
        if buffer is None or buffer.numel() < source.numel():
            largest = max(home.numel() for home in self._home.values())
            buffer = self._slots[slot] = torch.empty(largest, dtype=torch.uint8, device=self._device)
        self._held[slot] = key
        if self._side is None:
            buffer[: source.numel()].copy_(source)
            return
        self._side.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._side):
            buffer[: source.numel()].copy_(source, non_blocking=True)
            ready = torch.cuda.Event()
            ready.record(self._side)
        self._ready[slot] = ready


class Resident:
    """The module stays on the device."""

    def __init__(self, module: nn.Module, device: torch.device) -> None:
        module.to(device)

    @contextmanager
    def here(self) -> Iterator[None]:
        """Inside, the module can be called."""
        yield


class Visiting:
    """The module is on the device only while it is called; the master copy never leaves host memory."""

    def __init__(self, module: nn.Module, device: torch.device) -> None:
        self._tensors = [*module.parameters(), *module.buffers()]
        self._device = device
        self._pins = Pins(device)
        layout = _layout(self._tensors)
        self._home = list(layout.views(self._pins.buffer(layout.nbytes)).values())
        for home, tensor in zip(self._home, self._tensors, strict=True):
            home.copy_(tensor.data)
        self._leave()

    @contextmanager
    def here(self) -> Iterator[None]:
        """Inside, the module can be called."""
        try:
            for tensor, home in zip(self._tensors, self._home, strict=True):
                tensor.data = home.to(self._device, non_blocking=True)
            yield
        finally:
            self._leave()

    def _leave(self) -> None:
        for tensor, home in zip(self._tensors, self._home, strict=True):
            tensor.data = home


class Streamed:
    """The module's units come to the device one after another, each copied while those before it compute.

    ``units`` are modules in the order in which they are called, which must be the same every time. What is in
    none of them stays on the device.
    """

    def __init__(self, module: nn.Module, units: Sequence[nn.Module], device: torch.device) -> None:
        self._offload = Offload(len(units), STREAM_SLOTS, device)
        for number, unit in enumerate(units):
            self._pack(Key("", number), unit)
        module.to(device)  # what is not in a unit; the units' weights are placeholders by now

    @contextmanager
    def here(self) -> Iterator[None]:
        """Inside, the module can be called."""
        yield

    def _pack(self, key: Key, unit: nn.Module) -> None:
        tensors = [*unit.parameters(), *unit.buffers()]
        layout = _layout(tensors)
        buffer = torch.empty(layout.nbytes, dtype=torch.uint8)
        for view, tensor in zip(layout.views(buffer).values(), tensors, strict=True):
            view.copy_(tensor.data)
            tensor.data = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
        self._offload.put(key, buffer)

        def arrive(module: nn.Module, inputs: Any) -> None:
            views = layout.views(self._offload.acquire(key)).values()
            for view, tensor in zip(views, tensors, strict=True):
                tensor.data = view

        def leave(module: nn.Module, inputs: Any, output: Any) -> None:
            self._offload.release(key, next_sequence="")

        unit.register_forward_pre_hook(arrive)
        unit.register_forward_hook(leave)


class Pins:
    """Host memory for copies to a GPU, pinned where there is one, given back with its owner."""

    def __init__(self, device: torch.device) -> None:
        self._pin = device.type == "cuda"
        self._pinned: list[Tensor] = []
        weakref.finalize(self, _unpin, self._pinned).atexit = False  # the process's end does it faster

    def buffer(self, nbytes: int) -> Tensor:
        """uint8 [nbytes]. torch's own pinned memory comes in powers of two, and a third would be lost."""
        buffer = torch.empty(nbytes, dtype=torch.uint8)
        if self._pin and nbytes:
            buffer.zero_()  # by all threads: pinning would touch one page after the other
            torch.cuda.check_error(torch.cuda.cudart().cudaHostRegister(buffer.data_ptr(), nbytes, 0))
            self._pinned.append(buffer)
        return buffer


def _layout(tensors: Sequence[Tensor]) -> flat_buffer.Layout:
    return flat_buffer.lay_out(
        ((str(n), t.dtype, tuple(t.shape), t.stride()) for n, t in enumerate(tensors)), UNIT_ALIGNMENT
    )


def _unpin(buffers: list[Tensor]) -> None:
    """Before the memory is given back, and once nothing copies from it."""
    if buffers:
        torch.cuda.synchronize()
    for buffer in buffers:
        torch.cuda.cudart().cudaHostUnregister(buffer.data_ptr())
    buffers.clear()
