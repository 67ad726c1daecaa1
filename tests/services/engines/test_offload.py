"""Weights that come to the device when they are needed; on a CPU the copies are the same, only not beside."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from services.engines.weights.offload import Key, Offload, Streamed, Visiting

CPU = torch.device("cpu")


class Net(nn.Module):
    """Units of several sizes and layouts, and something that is in none of them."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(3, 4, 1)
        units = [nn.Conv2d(4, 4, n % 3 * 2 + 1, padding=n % 3) for n in range(7)]
        units[1].weight.data = units[1].weight.data.contiguous(memory_format=torch.channels_last)
        self.units: Any = nn.ModuleList(units)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for unit in self.units:
            x = torch.tanh(unit(x))
        return x


@torch.inference_mode()
def test_a_streamed_module_computes_the_same_every_time() -> None:
    x = torch.randn(1, 3, 8, 8)
    net = Net().requires_grad_(False)
    wanted, stride = net(x), net.units[1].weight.stride()
    streamed = Streamed(net, list(net.units), CPU)
    with streamed.here():
        assert torch.equal(net(x), wanted)
        with pytest.raises(RuntimeError):
            net(torch.randn(1, 9, 8, 8))  # a call that fails, as a cancelled one, leaves the next one whole
        assert torch.equal(net(x), wanted)
    assert net.units[1].weight.stride() == stride
    places = {unit.weight.untyped_storage().data_ptr() for unit in net.units}
    assert len(places) == 3


@torch.inference_mode()
def test_a_visiting_module_computes_the_same_and_keeps_its_layout() -> None:
    x = torch.randn(1, 3, 8, 8)
    net = Net().requires_grad_(False)
    wanted, stride = net(x), net.units[1].weight.stride()
    visiting = Visiting(net, CPU)
    with visiting.here():
        assert torch.equal(net(x), wanted)
    assert net.units[1].weight.stride() == stride


def test_a_released_slot_already_holds_what_is_used_there_next() -> None:
    offload = Offload(5, 2, CPU)
    keys = [Key(role, number) for role in ("high", "low") for number in range(5)]
    for value, key in enumerate(keys):
        offload.put(key, torch.full((8,), value, dtype=torch.uint8))
    assert offload.acquire(Key("high", 4)).tolist() == [4] * 8
    slot = offload.acquire(Key("high", 3))
    offload.release(Key("high", 3), next_sequence="low")
    assert slot.tolist() == [keys.index(Key("low", 1))] * 8
    slot = offload.acquire(Key("high", 0))
    offload.release(Key("high", 0), next_sequence=None)
    assert slot.tolist() == [keys.index(Key("high", 2))] * 8
