"""How a photo steers a clip: as channels beside the latents, or as the clip's first latent frame."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from services.engines.wan import schedule
from services.engines.wan.vae import Codec
from services.parameters.values import Values


class Condition(Protocol):
    """For one clip, with a photo or without."""

    def inputs(self, latents: Tensor, level: float) -> tuple[Tensor, Tensor]:
        """What the transformer sees at a noise level, and the timestep: [1], or [1, tokens]."""

    def finished(self, latents: Tensor) -> Tensor:
        """The clip's latents after the last step."""


class Channels:
    """14B models: four channels of mask, and the latent of a clip that starts with the photo and is grey."""

    def __init__(self, channels: Tensor | None) -> None:
        self._channels = channels

    @classmethod
    def of_photo(cls, still: Tensor, codec: Codec, values: Values) -> Channels:
        """``still`` is the photo, [1, 3, height, width] in -1..1."""
        grey = still.new_zeros(1, 3, values.num_frames - 1, *still.shape[-2:])
        latent = codec.encode(torch.cat([still[:, :, None], grey], dim=2))
        mask = latent.new_zeros(1, codec.time, *latent.shape[2:])
        mask[:, :, 0] = 1
        return cls(torch.cat([mask, latent], dim=1))

    def inputs(self, latents: Tensor, level: float) -> tuple[Tensor, Tensor]:
        timestep = torch.tensor([schedule.TIMESTEPS * level], device=latents.device)
        seen = latents if self._channels is None else torch.cat([latents, self._channels], dim=1)
        return seen, timestep

    def finished(self, latents: Tensor) -> Tensor:
        return latents


class FirstFrame:
    """The 5B model: it is told the noise of each token, and a given first frame has none."""

    def __init__(self, frame: Tensor | None) -> None:
        self._frame = frame

    @classmethod
    def of_photo(cls, still: Tensor, codec: Codec, values: Values) -> FirstFrame:
        """``still`` is the photo, [1, 3, height, width] in -1..1."""
        return cls(codec.encode(still[:, :, None]))

    def inputs(self, latents: Tensor, level: float) -> tuple[Tensor, Tensor]:
        frames, tokens = latents.shape[2], latents.shape[3] // 2 * (latents.shape[4] // 2)
        each = torch.full((frames,), schedule.TIMESTEPS * level, device=latents.device)
        if self._frame is not None:
            each[0] = 0
        return self.finished(latents), each.repeat_interleave(tokens)[None]

    def finished(self, latents: Tensor) -> Tensor:
        return latents if self._frame is None else torch.cat([self._frame, latents[:, :, 1:]], dim=2)
