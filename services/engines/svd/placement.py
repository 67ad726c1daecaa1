"""Where the weights are while nothing needs them: on the GPU, or in host memory until their turn comes."""
# PyTorch's streams and events have no types.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

SLOTS = 3  # units on the GPU when streaming: one at work, one ready, one on its way
ALIGNMENT_BYTES = 256


class Resident:
    """The module stays on the device."""

    def __init__(self, module: nn.Module, device: torch.device) -> None:
        module.to(device)

    @contextmanager
    def here(self) -> Iterator[None]:
        """While the block runs, the module can be called."""
        yield


class Visiting:
    """The module is on the GPU only while it is called; the master copy never leaves pinned host memory."""

    def __init__(self, module: nn.Module, device: torch.device) -> None:
        self._tensors = [*module.parameters(), *module.buffers()]
        self._home = [_pinned(tensor.data) for tensor in self._tensors]
        self._device = device
        self._leave()

    @contextmanager
    def here(self) -> Iterator[None]:
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
    """The module's units come to the GPU one after another, each copied while those before it compute.

    ``units`` are modules in the order in which they are called, which must be the same every time. What is in
    none of them stays on the GPU.
    """

    def __init__(self, module: nn.Module, units: Sequence[nn.Module], device: torch.device) -> None:
        self._units = [_Unit(unit) for unit in units]
        size = max(unit.home.numel() for unit in self._units)
        module.to(device)  # what is not in a unit; the units' weights are placeholders by now
        self._slots = [torch.empty(size, dtype=torch.uint8, device=device) for _ in range(SLOTS)]
        self._copies = torch.cuda.Stream(device)
        self._arrived = [torch.cuda.Event() for _ in range(SLOTS)]
        self._left = [torch.cuda.Event() for _ in range(SLOTS)]
        self._ahead = 0  # the next unit to be copied, counted over all rounds
        self._at = 0  # the next unit to be called
        for unit in units:
            unit.register_forward_pre_hook(self._arrive)
            unit.register_forward_hook(self._go)

    @contextmanager
    def here(self) -> Iterator[None]:
        self._ahead = self._at = 0
        try:
            yield
        finally:
            torch.cuda.synchronize()  # a cancelled clip leaves copies on their way
            for unit in self._units:
                unit.forget()

    def _arrive(self, module: nn.Module, inputs: Any) -> None:
        while self._ahead < self._at + SLOTS:
            slot = self._ahead % SLOTS
            with torch.cuda.stream(self._copies):
                if self._ahead >= SLOTS:
                    self._copies.wait_event(self._left[slot])
                home = self._units[self._ahead % len(self._units)].home
                self._slots[slot][: home.numel()].copy_(home, non_blocking=True)
                self._arrived[slot].record(self._copies)
            self._ahead += 1
        unit, slot = self._units[self._at % len(self._units)], self._at % SLOTS
        torch.cuda.current_stream().wait_event(self._arrived[slot])
        unit.show(self._slots[slot])

    def _go(self, module: nn.Module, inputs: Any, output: Any) -> None:
        self._left[self._at % SLOTS].record()
        self._at += 1


class _Unit:
    """A module's tensors, packed into one piece of pinned memory."""

    def __init__(self, module: nn.Module) -> None:
        self._tensors = [*module.parameters(), *module.buffers()]
        self._shapes = [(tensor.dtype, tensor.shape, tensor.stride()) for tensor in self._tensors]
        sizes = [tensor.numel() * tensor.element_size() for tensor in self._tensors]
        self._starts = [0]
        for size in sizes:
            self._starts.append(self._starts[-1] + -(-size // ALIGNMENT_BYTES) * ALIGNMENT_BYTES)
        self.home = _pinned(torch.empty(self._starts[-1], dtype=torch.uint8))
        for view, tensor in zip(self._views(self.home), self._tensors, strict=True):
            view.copy_(tensor.data)
        self.forget()

    def show(self, slot: Tensor) -> None:
        """The module's tensors are those in ``slot`` from now on."""
        for view, tensor in zip(self._views(slot), self._tensors, strict=True):
            tensor.data = view

    def forget(self) -> None:
        """The module has no weights until it is shown some."""
        for tensor in self._tensors:
            tensor.data = torch.empty(0, dtype=tensor.dtype, device=tensor.device)

    def _views(self, memory: Tensor) -> Iterator[Tensor]:
        for start, (dtype, shape, stride) in zip(self._starts, self._shapes, strict=False):
            yield memory[start : start + shape.numel() * dtype.itemsize].view(dtype).as_strided(shape, stride)


def _pinned(tensor: Tensor) -> Tensor:
    return tensor.pin_memory() if torch.cuda.is_available() else tensor
