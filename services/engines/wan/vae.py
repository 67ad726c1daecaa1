"""Wan's VAE: read strictly, encodes a photo, and hands frames over as they are decoded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLWan
from diffusers.models.autoencoders.autoencoder_kl_wan import WanCausalConv3d, unpatchify
from torch import Tensor

from bootstrap.errors import KitError
from services.engines.wan import decoder, vae_key_map
from services.engines.wan.decoder import Decoder
from services.engines.weights import checkpoint
from services.engines.weights import safetensors as files
from services.engines.weights.loader import Loader

FIRST_CONV = {False: "encoder.conv1.weight", True: "encoder.conv_in.weight"}


def load(
    path: Path, config: Mapping[str, Any], device: torch.device, dtype: torch.dtype, loader: Loader
) -> AutoencoderKLWan:
    """The class with the file's weights, in ``dtype`` on ``device``.

    Raises:
        KitError: the file is another VAE, or keys are missing, unknown or misshapen.
    """
    known = {
        key: value for key, value in config.items() if key != "clip_output"
    }  # diffusers does not have it
    with torch.device("meta"):
        vae = AutoencoderKLWan.from_config(known).eval().requires_grad_(False)
    shapes = {name: tuple(tensor.shape) for name, tensor in vae.state_dict().items()}
    found = files.open_weights(path)
    ours = FIRST_CONV[True] in found.stored
    _check_kind(path, found, vae)
    about = {"resnets": vae.config.num_res_blocks, "nested": vae.config.is_residual}
    spelled = {name: name if ours else vae_key_map.original(name, **about) for name in shapes}
    file = checkpoint.check(found, shapes, spelled=spelled)
    vae.load_state_dict(file.load(loader, device, dtype), assign=True)
    return vae.requires_grad_(False)


def _check_kind(path: Path, found: files.Weights, vae: AutoencoderKLWan) -> None:
    """Say plainly which VAE this is, when it is the other model's."""
    latent = next(
        (
            found.stored[key].shape[0]
            for key in ("conv2.weight", "post_quant_conv.weight")
            if key in found.stored and found.stored[key].shape
        ),
        None,
    )
    if latent is not None and latent != vae.config.z_dim:
        raise KitError(
            f"{path.name} is a VAE of {latent} latent channels; this model works with {vae.config.z_dim}",
            fix="use wan_2.1_vae with the 14B models and wan2.2_vae with the 5B model",
        )


class Codec:
    """Between pixels and the latents that the transformers see (mean 0, deviation 1)."""

    def __init__(self, vae: AutoencoderKLWan, *, tiling: bool, frames_at_once: int = 0) -> None:
        """``frames_at_once`` latent frames go through our own decoder; 0 keeps to diffusers' class."""
        self._vae = vae
        self._tiling = tiling
        self._fast: Decoder | None = None
        self.parts_at_once = 0  # latent frames that our own decoder takes together; 0 where it is diffusers'
        if tiling:
            vae.enable_tiling()
        elif frames_at_once and decoder.supports(vae):
            self._fast = Decoder(vae, frames_at_once)
            self.parts_at_once = frames_at_once
        weight = next(vae.parameters())
        self._device, self._dtype = weight.device, weight.dtype
        self._mean = torch.tensor(vae.config.latents_mean, device=self._device).view(1, -1, 1, 1, 1)
        self._std = torch.tensor(vae.config.latents_std, device=self._device).view(1, -1, 1, 1, 1)
        self.channels: int = vae.config.z_dim
        self.space: int = vae.config.scale_factor_spatial
        self.time: int = vae.config.scale_factor_temporal
        self._convolutions = sum(isinstance(m, WanCausalConv3d) for m in vae.decoder.modules())

    @torch.inference_mode()
    def encode(self, pixels: Tensor) -> Tensor:
        """float32 [1, 3, frames, height, width] in -1..1 to latents, float32."""
        latents: Tensor = self._vae.encode(pixels.to(self._device, self._dtype)).latent_dist.mode().float()
        return (latents - self._mean) / self._std

    def decode(self, latents: Tensor) -> Iterator[Tensor]:
        """Yield uint8 [frames, height, width, 3] on the device, one frame first and then four at a time.

        The causal convolutions keep what they need of the frames before, so the parts equal the whole.
        """
        with torch.inference_mode():
            wide = (latents.to(self._device) * self._std + self._mean).to(self._dtype)
        if self._tiling:
            with torch.inference_mode():
                pixels = self._vae.decode(wide, return_dict=False)[0]
            for start in range(0, pixels.shape[2], self.time):
                yield _rgb(pixels[0, :, start : start + self.time].permute(1, 2, 3, 0))
            return
        if self._fast is not None:
            for pixels in self._fast.decode(wide):
                yield _rgb(pixels)
            return
        memory: list[Any] = [None] * self._convolutions
        with torch.inference_mode():
            inner = self._vae.post_quant_conv(wide)
        for number in range(inner.shape[2]):
            with torch.inference_mode():
                pixels = self._vae.decoder(
                    inner[:, :, number : number + 1], feat_cache=memory, feat_idx=[0], first_chunk=number == 0
                )
                if self._vae.config.patch_size is not None:
                    pixels = unpatchify(pixels, patch_size=self._vae.config.patch_size)
            yield _rgb(pixels[0].permute(1, 2, 3, 0))


@torch.inference_mode()
def _rgb(pixels: Tensor) -> Tensor:
    """[frames, height, width, 3] in -1..1 to uint8."""
    return ((pixels.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).contiguous()
