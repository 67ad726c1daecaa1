"""What the UNet is told about the photo: its CLIP embedding, its latent, and the three numbers of motion."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from services.engines.svd import image_resize
from services.engines.svd.modules.image_encoder import CLIPVisionModelWithProjection
from services.engines.svd.modules.vae import AutoencoderKLTemporalDecoder


@dataclass(frozen=True)
class Conditioning:
    """For one clip; the unconditional branch is all zeros and needs no tensors."""

    embedding: Tensor  # [1, 1, cross_attention_dim]
    latent: Tensor  # [1, channels, h, w], not scaled
    time_ids: Tensor  # [1, 3]: fps - 1, motion bucket, noise augmentation


class Embedder(nn.Module):
    """The image encoder with the preparation that the pipeline does."""

    mean: Tensor
    std: Tensor

    def __init__(
        self, encoder: CLIPVisionModelWithProjection, mean: tuple[float, ...], std: tuple[float, ...]
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.register_buffer("mean", torch.tensor(mean)[:, None, None])
        self.register_buffer("std", torch.tensor(std)[:, None, None])

    @torch.inference_mode()
    def forward(self, photo: Tensor) -> Tensor:
        """[1, 3, height, width] in -1..1 to [1, 1, projection]."""
        # Resized before the values are moved to 0..1, as at training.
        small = (image_resize.antialiased(photo.to(self.mean.device), self.encoder.side) + 1.0) / 2.0
        dtype = self.encoder.visual_projection.weight.dtype
        embedding: Tensor = self.encoder(((small - self.mean) / self.std).to(dtype))
        return embedding[:, None]


class Encoder(nn.Module):
    """The VAE's encoder. In float32 where the checkpoint asks for it: in fp16 it overflows on some photos."""

    def __init__(self, vae: AutoencoderKLTemporalDecoder) -> None:
        super().__init__()
        self.encoder, self.to_moments = vae.encoder, vae.quant_conv
        if vae.force_upcast:
            self.float()

    @torch.inference_mode()
    def forward(self, photo: Tensor) -> Tensor:
        """[1, 3, height, width] in -1..1 to the most likely latent, not scaled."""
        weight = self.to_moments.weight
        moments: Tensor = self.to_moments(self.encoder(photo.to(weight.device, weight.dtype)))
        return moments.chunk(2, 1)[0]


def time_ids(*, fps: int, motion_bucket_id: int, noise_aug_strength: float) -> Tensor:
    """[1, 3]; the model was trained with frames per second less one."""
    return torch.tensor([[float(fps - 1), float(motion_bucket_id), noise_aug_strength]])
