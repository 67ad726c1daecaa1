"""What the fused forward takes together must lie together."""

from __future__ import annotations

import torch

from services.engines.wan import fused


def test_tensors_of_one_buffer_become_one_without_a_copy() -> None:
    buffer = torch.arange(24.0).reshape(6, 4)
    together = fused.side_by_side([buffer[:2], buffer[2:5]])
    assert torch.equal(together, buffer[:5])
    assert together.data_ptr() == buffer.data_ptr()


def test_neighbours_of_different_buffers_are_copied() -> None:
    """The kernels' warmup has each tensor from the allocator, which may put them next to each other."""
    memory = bytearray(24 * 4)
    first, second = (torch.frombuffer(memory, dtype=torch.float32, count=12, offset=at) for at in (0, 48))
    first[:], second[:] = 1.0, 2.0
    assert second.data_ptr() == first.data_ptr() + first.nbytes
    together = fused.side_by_side([first.view(3, 4), second.view(3, 4)])
    assert torch.equal(together, torch.cat([first, second]).view(6, 4))


def test_a_gap_between_them_is_left_out() -> None:
    buffer = torch.arange(24.0).reshape(6, 4)
    assert torch.equal(fused.side_by_side([buffer[:2], buffer[3:5]]), buffer[[0, 1, 3, 4]])
