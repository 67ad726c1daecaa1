"""Layers for inference: made without memory, their tensors are put in place by whoever holds the bytes.

Everything is a buffer, so that ``setattr(layer, "weight", tensor)`` puts a tensor of any dtype in place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from services.engines.weights.fp8_linear import Fp8Linear


class Linear(nn.Module):
    weight: Tensor  # [out, in]
    bias: Tensor | None  # [out]

    def __init__(self, in_features: int, out_features: int, *, bias: bool = True) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        empty = torch.empty(0, device="meta")
        self.register_buffer("weight", empty.new_empty(out_features, in_features))
        self.register_buffer("bias", empty.new_empty(out_features) if bias else None)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)


class RmsNorm(nn.Module):
    weight: Tensor  # [width]

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.register_buffer("weight", torch.empty(width, device="meta"))

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.weight.shape, self.weight, self.eps)


class LayerNorm(nn.Module):
    weight: Tensor  # [width]
    bias: Tensor  # [width]

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.register_buffer("weight", torch.empty(width, device="meta"))
        self.register_buffer("bias", torch.empty(width, device="meta"))

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)


def shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    """Of all tensors that a file must have, by name."""
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def narrow(model: nn.Module, wanted: Callable[[str], bool], rank: Callable[[str], int] = lambda _: 0) -> None:
    """Make those linear layers FP8 that are ``wanted``; ``rank`` is that of a LoRA beside the weight."""
    for name, module in list(model.named_modules()):
        if isinstance(module, Linear) and wanted(name):
            layer = Fp8Linear(
                module.in_features, module.out_features, bias=module.bias is not None, rank=rank(name)
            )
            parent, _, leaf = name.rpartition(".")
            model.get_submodule(parent).register_module(leaf, layer)


def bind(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Let the model use these tensors, by their names in its ``state_dict``."""
    for name, tensor in tensors.items():
        parent, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(parent), leaf, tensor)
