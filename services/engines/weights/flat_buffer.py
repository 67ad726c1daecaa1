"""A model part's tensors side by side in one flat buffer, so that the part moves with a single copy."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

# FP8 products want 16; our kernels load 16 bytes at once.
ALIGNMENT = 16


@dataclass(frozen=True)
class Slot:
    """Where one tensor lies in its buffer."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    offset: int

    @property
    def nbytes(self) -> int:
        return self.dtype.itemsize * torch.Size(self.shape).numel()


@dataclass(frozen=True)
class Layout:
    """The slots of one part, in order; those that follow each other without a gap may be used as one."""

    slots: tuple[Slot, ...]
    nbytes: int

    def views(self, buffer: Tensor) -> dict[str, Tensor]:
        """The tensors inside ``buffer`` (uint8, at least ``nbytes`` long)."""
        return {
            slot.name: buffer[slot.offset : slot.offset + slot.nbytes].view(slot.dtype).view(slot.shape)
            for slot in self.slots
        }


def lay_out(tensors: Iterable[tuple[str, torch.dtype, tuple[int, ...]]]) -> Layout:
    """Give each tensor its place, in the order given."""
    slots: list[Slot] = []
    offset = 0
    for name, dtype, shape in tensors:
        offset = -(-offset // ALIGNMENT) * ALIGNMENT
        slots.append(Slot(name, dtype, shape, offset))
        offset += slots[-1].nbytes
    return Layout(tuple(slots), -(-offset // ALIGNMENT) * ALIGNMENT)
