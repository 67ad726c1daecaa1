"""Pictures that are too large for the VAE at once, in tiles that overlap and are blended into each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from services.engines.wan.autoencoder import Config

TILE, STRIDE = 256, 192  # pixels


@dataclass(frozen=True)
class Tiles:
    """Sides and distances of square tiles, before and after what is done with each."""

    tile: int
    stride: int
    stride_after: int
    blend_after: int  # rows or columns over which a tile becomes its neighbour

    def apply(self, x: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
        """Do ``change`` with each tile of [..., h, w] and join what comes out."""
        rows = [
            [
                change(x[..., top : top + self.tile, left : left + self.tile])
                for left in range(0, x.shape[-1], self.stride)
            ]
            for top in range(0, x.shape[-2], self.stride)
        ]
        joined = []
        for i, row in enumerate(rows):
            for j, tile in enumerate(row):
                if i > 0:
                    _blend(rows[i - 1][j].transpose(-1, -2), tile.transpose(-1, -2), self.blend_after)
                if j > 0:
                    _blend(row[j - 1], tile, self.blend_after)
            joined.append(
                torch.cat([tile[..., : self.stride_after, : self.stride_after] for tile in row], -1)
            )
        height, width = (side * self.stride_after // self.stride for side in x.shape[-2:])
        return torch.cat(joined, dim=-2)[..., :height, :width]


def of_pixels(config: Config) -> Tiles:
    """For the encoder, whose input is folded where the VAE folds."""
    side = config.patch_size or 1
    ratio = config.scale_factor_spatial // side
    return Tiles(TILE, STRIDE, STRIDE // ratio, (TILE - STRIDE) // ratio)


def of_latents(config: Config) -> Tiles:
    """For the decoder, whose output is folded where the VAE folds."""
    side, ratio = config.patch_size or 1, config.scale_factor_spatial
    return Tiles(TILE // ratio, STRIDE // ratio, STRIDE // side, (TILE - STRIDE) // side)


def _blend(before: Tensor, tile: Tensor, extent: int) -> None:
    """The first columns of ``tile``, in place: from what ``before`` has at its end to the tile's own."""
    extent = min(before.shape[-1], tile.shape[-1], extent)
    for column in range(extent):
        own = column / extent
        tile[..., column] = before[..., -extent + column] * (1 - own) + tile[..., column] * own
