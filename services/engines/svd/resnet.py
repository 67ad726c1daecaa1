"""Residual blocks, first over space and then over time, and changes of size."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from services.engines.svd import ops
from services.engines.svd.modules.residual import SpatioTemporalResBlock
from services.engines.svd.ops import Norm
from services.engines.svd.statistics import Stats


class Conv(nn.Module):
    """A 3 x 3 convolution with its bias."""

    def __init__(self, source: nn.Conv2d) -> None:
        super().__init__()
        self.weight = _last(source.weight)
        self.bias = source.bias
        self.stride = source.stride[0]

    def forward(self, x: Tensor) -> Tensor:
        return ops.conv(x, self.weight, self.bias, stride=self.stride)


class Upsample(nn.Module):
    """Enlarges a picture; its bias is left to the resnet behind it, see ``Resnet.absorb``."""

    def __init__(self, source: nn.Conv2d) -> None:
        super().__init__()
        self.plain = _last(source.weight)
        self.doubling = _frozen(ops.upsample_weight(source.weight))

    def forward(self, x: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """To twice the size, or to ``size``."""
        if size is None or size == (2 * x.shape[1], 2 * x.shape[2]):
            return ops.upsample(x, self.doubling)
        return ops.upsample_to(x, self.plain, size)


class Resnet(nn.Module):
    """``SpatioTemporalResBlock``: a residual block over space, one over time, and a share of each."""

    def __init__(self, source: SpatioTemporalResBlock) -> None:
        super().__init__()
        space, time = source.spatial_res_block, source.temporal_res_block
        self.norm1, self.norm2 = Norm(space.norm1), Norm(space.norm2)
        self.conv1, self.conv2 = _last(space.conv1.weight), _last(space.conv2.weight)
        self.bias1, self.bias2 = _bias(space.conv1), _bias(space.conv2)
        self.embed = space.time_emb_proj
        self.shift: nn.Parameter | None = None
        self.shortcut: nn.Parameter | None = None
        if space.conv_shortcut is not None:
            self.shortcut = _frozen(space.conv_shortcut.weight.flatten(1))
            self.bias2 = _frozen(self.bias2 + _bias(space.conv_shortcut))
        self.time_norm1, self.time_norm2 = Norm(time.norm1), Norm(time.norm2)
        self.time_conv1, self.time_conv2 = _last(time.conv1.weight), _last(time.conv2.weight)
        self.time_bias1, self.time_bias2 = _bias(time.conv1), _bias(time.conv2)
        self.time_embed = time.time_emb_proj
        self.moves = 1 - source.time_mixer.share()  # of what the block over time adds

    def absorb(self, bias: Tensor) -> None:
        """From now on ``bias`` [some C] is still to be added to the first channels of every input."""
        whole = bias.new_zeros(len(self.norm1.weight))
        whole[: len(bias)] = bias
        self.shift = _frozen(whole)
        self.bias2 = _frozen(self.bias2 + (whole if self.shortcut is None else self.shortcut @ whole))

    def forward(
        self, x: Tensor, found: Stats | None, frames: int, emb: Tensor | None
    ) -> tuple[Tensor, Stats | None]:
        """``x`` [batch * frames, H, W, C]; ``emb`` [1, D] is the time embedding after SiLU."""
        y, found = self.over_space(x, found, emb)
        z = ops.group_norm(y, self.time_norm1, found=found, join=frames)
        z = ops.conv_time(z, self.time_conv1, frames)
        z = ops.group_norm(
            z, self.time_norm2, join=frames, shift=_shift(self.time_bias1, self.time_embed, emb)
        )
        z = ops.conv_time(z, self.time_conv2, frames)
        return ops.add(y, z, self.time_bias2, scale=self.moves, out=y)

    def over_space(
        self, x: Tensor, found: Stats | None, emb: Tensor | None, out: Tensor | None = None
    ) -> tuple[Tensor, Stats | None]:
        """The first half, in which every frame stands alone. Never writes to ``x``."""
        y = ops.group_norm(x, self.norm1, found=found, shift=self.shift)
        y = ops.conv(y, self.conv1)
        y = ops.group_norm(y, self.norm2, shift=_shift(self.bias1, self.embed, emb))
        y = ops.conv(y, self.conv2)
        kept = x if self.shortcut is None else F.linear(x, self.shortcut)
        return ops.add(kept, y, self.bias2, out=y if out is None else out)


def _shift(bias: Tensor, embed: nn.Linear | None, emb: Tensor | None) -> Tensor:
    """What is added to every pixel between the two convolutions of a resnet: [C]."""
    if embed is None or emb is None:
        return bias
    moved: Tensor = embed(emb)[0] + bias
    return moved


def _bias(layer: nn.Conv2d | nn.Conv3d) -> Tensor:
    assert layer.bias is not None
    return layer.bias


def _frozen(weight: Tensor) -> nn.Parameter:
    return nn.Parameter(weight, requires_grad=False)


def _last(weight: Tensor) -> nn.Parameter:
    """The weight of a convolution with its channels last in memory."""
    order = torch.channels_last_3d if weight.ndim == 5 else torch.channels_last
    return _frozen(weight.detach().contiguous(memory_format=order))
