"""The transformer of the UNet: blocks over space and blocks over time, side by side."""

from __future__ import annotations

from typing import Any

from torch import nn

from services.engines.svd.modules.residual import GROUPS, TimeMixer
from services.engines.svd.modules.time_embedding import TimestepEmbedding


class Attention(nn.Module):
    """To itself, or to an embedding of ``key_channels``."""

    def __init__(self, channels: int, heads: int, key_channels: int | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(channels, channels, bias=False)
        self.to_k = nn.Linear(key_channels or channels, channels, bias=False)
        self.to_v = nn.Linear(key_channels or channels, channels, bias=False)
        self.to_out: Any = nn.ModuleList([nn.Linear(channels, channels)])


class GatedProjection(nn.Module):
    """``GEGLU``: values and their gates in one product."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.proj = nn.Linear(channels, 2 * inner)


class FeedForward(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        # The empty one is the dropout of training, which holds a number in the files' names.
        self.net: Any = nn.ModuleList(
            [GatedProjection(channels, 4 * channels), nn.Identity(), nn.Linear(4 * channels, channels)]
        )


class TransformerBlock(nn.Module):
    """``BasicTransformerBlock``: attention within a picture, to the photo, and a feed-forward layer."""

    def __init__(self, channels: int, heads: int, photo_channels: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.attn1 = Attention(channels, heads)
        self.norm2 = nn.LayerNorm(channels)
        self.attn2 = Attention(channels, heads, photo_channels)
        self.norm3 = nn.LayerNorm(channels)
        self.ff = FeedForward(channels)


class TemporalTransformerBlock(TransformerBlock):
    """``TemporalBasicTransformerBlock``: the same over time, behind another feed-forward layer."""

    def __init__(self, channels: int, heads: int, photo_channels: int) -> None:
        super().__init__(channels, heads, photo_channels)
        self.norm_in = nn.LayerNorm(channels)
        self.ff_in = FeedForward(channels)


class TransformerSpatioTemporalModel(nn.Module):
    def __init__(self, channels: int, heads: int, photo_channels: int, blocks: int) -> None:
        super().__init__()
        self.channels = channels
        self.norm = nn.GroupNorm(GROUPS, channels, 1e-6)
        self.proj_in = nn.Linear(channels, channels)
        self.transformer_blocks: Any = nn.ModuleList(
            TransformerBlock(channels, heads, photo_channels) for _ in range(blocks)
        )
        self.temporal_transformer_blocks: Any = nn.ModuleList(
            TemporalTransformerBlock(channels, heads, photo_channels) for _ in range(blocks)
        )
        self.time_pos_embed = TimestepEmbedding(channels, 4 * channels, channels)
        self.time_mixer = TimeMixer()
        self.proj_out = nn.Linear(channels, channels)
