"""The UNet: the function of ``UNetSpatioTemporalConditionModel``, computed with channels last throughout."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from services.engines.svd import ops
from services.engines.svd.modules import time_embedding
from services.engines.svd.modules import unet as modules
from services.engines.svd.ops import Norm
from services.engines.svd.resnet import Conv, Resnet, Upsample
from services.engines.svd.statistics import Stats
from services.engines.svd.transformer import Clip, Transformer


class Level(nn.Module):
    """The resnets of one resolution, each with a transformer behind it or none."""

    def __init__(self, source: modules.Level) -> None:
        super().__init__()
        self.resnets: Any = nn.ModuleList(Resnet(resnet) for resnet in source.resnets)
        self.transformers: Any = nn.ModuleList(Transformer(one) for one in source.attentions)
        self.down = Conv(source.downsamplers[0].conv) if source.downsamplers else None
        self.up = Upsample(source.upsamplers[0].conv) if source.upsamplers else None

    def units(self) -> Iterator[nn.Module]:
        """In the order in which they are called."""
        after = list(self.transformers)
        for number, resnet in enumerate(self.resnets):
            yield resnet
            # The middle has a resnet more than transformers, the others as many or no transformers.
            if number < len(after):
                yield after[number]
        yield from (one for one in (self.down, self.up) if one is not None)

    def step(
        self, number: int, x: Tensor, found: Stats | None, clip: Clip, emb: Tensor
    ) -> tuple[Tensor, Stats | None]:
        x, found = self.resnets[number](x, found, clip.frames, emb)
        if number < len(self.transformers):
            x, found = self.transformers[number](x, found, clip)
        return x, found


class Unet(nn.Module):
    """Takes over the weights of ``source``, which is of no use afterwards."""

    def __init__(self, source: modules.UNetSpatioTemporalConditionModel) -> None:
        super().__init__()
        self.motion_waves = source.waves  # of each of the three numbers
        self.step_embed, self.motion_embed = source.time_embedding, source.add_embedding
        self.enter = Conv(source.conv_in)
        self.downs: Any = nn.ModuleList(Level(block) for block in source.down_blocks)
        self.middle = Level(source.mid_block)
        self.ups: Any = nn.ModuleList(Level(block) for block in source.up_blocks)
        levels: Any = self.ups[1:]
        for before, level in zip(source.up_blocks, levels, strict=False):
            level.resnets[0].absorb(before.upsamplers[0].conv.bias)
        self.norm = Norm(source.conv_norm_out)
        self.leave = Conv(source.conv_out)

    def units(self) -> list[nn.Module]:
        """The parts that hold nearly all weights, in the order in which they are called."""
        levels = [*self.downs, self.middle, *self.ups]
        return [unit for level in levels for unit in level.units()]

    def embed(self, timestep: Tensor, time_ids: Tensor) -> Tensor:
        """The time embedding after SiLU, [1, D]; ``timestep`` [1], ``time_ids`` [1, 3]."""
        dtype = self.enter.weight.dtype
        steps = self.step_embed(time_embedding.waves(timestep, len(self.enter.weight)).to(dtype))
        waves = time_embedding.waves(time_ids.flatten(), self.motion_waves)
        motion = self.motion_embed(waves.flatten()[None].to(dtype))
        emb: Tensor = F.silu(steps + motion)
        return emb

    def forward(self, x: Tensor, emb: Tensor, clip: Clip) -> Tensor:
        """[batch * frames, H, W, in] to [batch * frames, H, W, out]."""
        x, found = self.enter(x), None
        skips = [x]
        for level in self.downs:
            for number in range(len(level.resnets)):
                x, found = level.step(number, x, found, clip, emb)
                skips.append(x)
            if level.down is not None:
                x, found = level.down(x), None
                skips.append(x)
        x, found = self.middle.resnets[0](x, found, clip.frames, emb)
        for transformer, resnet in zip(self.middle.transformers, self.middle.resnets[1:], strict=True):
            x, found = transformer(x, found, clip)
            x, found = resnet(x, found, clip.frames, emb)
        for level in self.ups:
            for number in range(len(level.resnets)):
                x, found = ops.join(x, skips.pop())
                x, found = level.step(number, x, found, clip, emb)
            if level.up is not None:
                x = level.up(x, tuple(skips[-1].shape[1:3]))
        out: Tensor = self.leave(ops.group_norm(x, self.norm, found=found))
        return out
