"""A model part's tensors side by side in one flat buffer, so that the part moves with a single copy."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

# FP8 products want 16; our kernels load 16 bytes at once.
ALIGNMENT = 16

Tensors = Iterable[
    tuple[str, torch.dtype, tuple[int, ...]] | tuple[str, torch.dtype, tuple[int, ...], tuple[int, ...]]
]


@dataclass(frozen=True)
class TensorSpec:
    """Where one tensor lies in its buffer."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    offset: int  # bytes
    stride: tuple[int, ...] | None = None  # elements, as in torch; None for contiguous

    @property
    def nbytes(self) -> int:
        return self.dtype.itemsize * torch.Size(self.shape).numel()


@dataclass(frozen=True)
class Layout:
    """The tensors of one part, in order; those that follow each other without a gap may be used as one."""

    slots: tuple[TensorSpec, ...]
    nbytes: int

    def views(self, buffer: Tensor) -> dict[str, Tensor]:
        """The tensors inside ``buffer`` (uint8, at least ``nbytes`` long)."""
        return {slot.name: _view(buffer, slot) for slot in self.slots}


def lay_out(tensors: Tensors, alignment: int = ALIGNMENT) -> Layout:
    """Give each tensor (name, dtype, shape and, where it is not contiguous, stride) its place, in order.

    A stride must leave no gaps, as that of a transposed or channels-last tensor.
    """
    slots: list[TensorSpec] = []
    offset = 0
    for name, dtype, shape, *stride in tensors:
        offset = -(-offset // alignment) * alignment
        slots.append(TensorSpec(name, dtype, shape, offset, stride[0] if stride else None))
        offset += slots[-1].nbytes
    return Layout(tuple(slots), -(-offset // alignment) * alignment)


def _view(buffer: Tensor, slot: TensorSpec) -> Tensor:
    flat = buffer[slot.offset : slot.offset + slot.nbytes].view(slot.dtype)
    return flat.view(slot.shape) if slot.stride is None else flat.as_strided(slot.shape, slot.stride)
