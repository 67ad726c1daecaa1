"""``UNetSpatioTemporalConditionModel``: its parameters, from its config."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from torch import nn

from bootstrap.errors import KitError
from services.engines.svd.modules import config as configs
from services.engines.svd.modules.residual import GROUPS, Resampler, SpatioTemporalResBlock
from services.engines.svd.modules.time_embedding import TimestepEmbedding
from services.engines.svd.modules.transformer import TransformerSpatioTemporalModel

ATTENTION = "CrossAttn"  # how the types of levels with transformers begin


class Level(nn.Module):
    """The blocks of one resolution: resnets, a transformer behind each or none, and a change of size."""

    def __init__(
        self, resnets: list[SpatioTemporalResBlock], attentions: list[TransformerSpatioTemporalModel]
    ) -> None:
        super().__init__()
        self.resnets: Any = nn.ModuleList(resnets)
        self.attentions: Any = nn.ModuleList(attentions)
        self.downsamplers: Any = nn.ModuleList()
        self.upsamplers: Any = nn.ModuleList()


class UNetSpatioTemporalConditionModel(nn.Module):
    def __init__(self, config: Mapping[str, Any]) -> None:
        """
        Raises:
            KitError: the config is not one of this class.
        """
        super().__init__()
        self._config = config
        widths = self._widths = configs.each(config.get("block_out_channels", [320, 640, 1280, 1280]), 4)
        self.waves: int = config.get("addition_time_embed_dim", 256)
        self._time = 4 * widths[0]
        self.conv_in = nn.Conv2d(config.get("in_channels", 8), widths[0], 3, padding=1)
        self.time_embedding = TimestepEmbedding(widths[0], self._time, self._time)
        motion = config.get("projection_class_embeddings_input_dim", 768)
        self.add_embedding = TimestepEmbedding(motion, self._time, self._time)
        self.down_blocks: Any = nn.ModuleList(self._downs(self._types("down_block_types", "Down")))
        self.mid_block = self._middle()
        self.up_blocks: Any = nn.ModuleList(self._ups(self._types("up_block_types", "Up")))
        self.conv_norm_out = nn.GroupNorm(GROUPS, widths[0], 1e-5)
        self.conv_out = nn.Conv2d(widths[0], config.get("out_channels", 4), 3, padding=1)

    def _downs(self, attend: list[bool]) -> list[Level]:
        levels = []
        for number, (before, width) in enumerate(pairwise([self._widths[0], *self._widths])):
            count = self._of("layers_per_block", 2)[number]
            eps = 1e-6 if attend[number] else 1e-5
            resnets = [
                SpatioTemporalResBlock(width if layer else before, width, self._time, eps)
                for layer in range(count)
            ]
            level = Level(resnets, self._transformers(number, count if attend[number] else 0))
            if number < len(self._widths) - 1:
                level.downsamplers.append(Resampler(width, stride=2))
            levels.append(level)
        return levels

    def _middle(self) -> Level:
        width = self._widths[-1]
        resnets = [SpatioTemporalResBlock(width, width, self._time, 1e-5) for _ in range(2)]
        return Level(resnets, self._transformers(len(self._widths) - 1, 1))

    def _ups(self, attend: list[bool]) -> list[Level]:
        """Each resnet's input is the picture so far and one that a level on the way down kept."""
        levels = []
        before = self._widths[-1]
        for place, number in enumerate(reversed(range(len(self._widths)))):
            width, kept = self._widths[number], self._widths[max(number - 1, 0)]
            count = self._of("layers_per_block", 2)[number] + 1
            resnets = [
                SpatioTemporalResBlock(
                    (width if layer else before) + (kept if layer == count - 1 else width),
                    width,
                    self._time,
                    1e-6,
                )
                for layer in range(count)
            ]
            level = Level(resnets, self._transformers(number, count if attend[place] else 0))
            if number:
                level.upsamplers.append(Resampler(width))
            levels.append(level)
            before = width
        return levels

    def _transformers(self, number: int, count: int) -> list[TransformerSpatioTemporalModel]:
        """``count`` of the level ``number`` on the way down."""
        return [
            TransformerSpatioTemporalModel(
                self._widths[number],
                self._of("num_attention_heads", [5, 10, 20, 20])[number],
                self._of("cross_attention_dim", 1024)[number],
                self._of("transformer_layers_per_block", 1)[number],
            )
            for _ in range(count)
        ]

    def _of(self, key: str, default: Any) -> list[int]:
        return configs.each(self._config.get(key, default), len(self._widths))

    def _types(self, key: str, way: str) -> list[bool]:
        """For each level, whether it has transformers."""
        plain = f"{way}BlockSpatioTemporal"
        usual = [f"{ATTENTION}{plain}"] * 3
        types = self._config.get(key, [*usual, plain] if way == "Down" else [plain, *usual])
        if not set(types) <= {plain, f"{ATTENTION}{plain}"} or len(types) != len(self._widths):
            raise KitError(
                f"the UNet's config sets {key}: {types}, which is no UNet of Stable Video Diffusion",
                fix="point the manifest's `pipeline` at a folder of Stable Video Diffusion",
            )
        return [each.startswith(ATTENTION) for each in types]
