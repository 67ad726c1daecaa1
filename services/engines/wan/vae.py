"""Wan's VAE: read strictly, encodes a photo, and hands frames over as they are decoded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bootstrap.errors import KitError
from services.engines.wan import fast_decoder, vae_key_map, vae_tiles
from services.engines.wan.autoencoder import Autoencoder, Config
from services.engines.wan.fast_decoder import FastDecoder
from services.engines.wan.vae_layers import Past
from services.engines.weights import checkpoint, linear
from services.engines.weights import safetensors as files
from services.engines.weights.loader import Loader

FIRST_CONV = "encoder.conv_in.weight"  # of a file that already has our names


def load(
    path: Path, config: Mapping[str, Any], device: torch.device, dtype: torch.dtype, loader: Loader
) -> Autoencoder:
    """The VAE with the file's weights, in ``dtype`` on ``device``.

    Raises:
        KitError: the file is another VAE, or keys are missing, unknown or misshapen.
    """
    about = Config.read(config)
    with torch.device("meta"):
        vae = Autoencoder(about).eval().requires_grad_(False)
    shapes = linear.shapes(vae)
    found = files.open_weights(path)
    _check_kind(path, found, about)
    file = checkpoint.check(found, shapes, spelled=_spelled(found, about, shapes))
    vae.load_state_dict(file.load(loader, device, dtype), assign=True)
    return vae.requires_grad_(False)


def _spelled(found: files.Weights, config: Config, names: Iterable[str]) -> dict[str, str]:
    """The file's name of each tensor: Wan's own, or ours."""
    if FIRST_CONV in found.stored:
        return {name: name for name in names}
    resnets, nested = config.num_res_blocks, config.is_residual
    return {name: vae_key_map.original(name, resnets=resnets, nested=nested) for name in names}


def _check_kind(path: Path, found: files.Weights, config: Config) -> None:
    """Say plainly which VAE this is, when it is the other model's."""
    latent = next(
        (
            found.stored[key].shape[0]
            for key in ("conv2.weight", "post_quant_conv.weight")
            if key in found.stored and found.stored[key].shape
        ),
        None,
    )
    if latent is not None and latent != config.z_dim:
        raise KitError(
            f"{path.name} is a VAE of {latent} latent channels; this model works with {config.z_dim}",
            fix="use wan_2.1_vae with the 14B models and wan2.2_vae with the 5B model",
        )


class Codec:
    """Between pixels and the latents that the transformers see (mean 0, deviation 1)."""

    def __init__(self, vae: Autoencoder, *, tiling: bool, frames_at_once: int = 0) -> None:
        """``frames_at_once`` latent frames go through the fast decoder together; 0 is for the plain one."""
        self.vae = vae
        self._tiling = tiling
        self._fast: FastDecoder | None = None
        self.parts_at_once = 0  # latent frames that the fast decoder takes together; 0 where it is not used
        if frames_at_once and not tiling and fast_decoder.supports(vae):
            self._fast = FastDecoder(vae, frames_at_once)
            self.parts_at_once = frames_at_once
        weight = vae.quant_conv.weight
        self._device, self._dtype = weight.device, weight.dtype
        self.mean, self.std = (
            torch.tensor(values, device=self._device).view(1, -1, 1, 1, 1)
            for values in (vae.config.latents_mean, vae.config.latents_std)
        )
        self.channels = vae.config.z_dim
        self.space = vae.config.scale_factor_spatial
        self.time = vae.config.scale_factor_temporal

    @torch.inference_mode()
    def encode(self, pixels: Tensor) -> Tensor:
        """float32 [1, 3, frames, height, width] in -1..1 to the most likely latents, float32."""
        folded = self.vae.fold(pixels.to(self._device, self._dtype))
        if self._is_tiled(pixels, vae_tiles.TILE):
            moments = vae_tiles.of_pixels(self.vae.config).apply(folded, self.vae.moments)
        else:
            moments = self.vae.moments(folded)
        return (moments.chunk(2, dim=1)[0].float() - self.mean) / self.std

    def decode(self, latents: Tensor) -> Iterator[Tensor]:
        """Yield uint8 [frames, height, width, 3] on the device, one frame first and then four at a time.

        The causal convolutions keep what they need of the frames before, so the parts equal the whole.
        """
        with torch.inference_mode():
            wide = (latents.to(self._device) * self.std + self.mean).to(self._dtype)
        if self._fast is not None:
            for pixels in self._fast.decode(wide):
                yield _rgb(pixels)
            return
        parts = self._tiled(wide) if self._is_tiled(wide, vae_tiles.TILE // self.space) else self._parts(wide)
        for part in parts:
            with torch.inference_mode():
                unfolded = self.vae.unfold(part)
            yield _rgb(unfolded[0].permute(1, 2, 3, 0))

    def _is_tiled(self, x: Tensor, tile: int) -> bool:
        return self._tiling and max(x.shape[-2:]) > tile

    def _parts(self, latents: Tensor) -> Iterator[Tensor]:
        """Pixels of one latent frame after the other."""
        past: Past = {}
        for number in range(latents.shape[2]):
            with torch.inference_mode():
                part = self.vae.part(latents[:, :, number : number + 1], past, first=number == 0)
            yield part

    def _tiled(self, latents: Tensor) -> Iterator[Tensor]:
        """The same in tiles, each decoded for the whole clip before the next."""

        def whole(tile: Tensor) -> Tensor:
            return torch.cat(list(self._parts(tile)), dim=2)

        with torch.inference_mode():
            pixels = vae_tiles.of_latents(self.vae.config).apply(latents, whole)
        for start in range(0, pixels.shape[2], self.time):
            yield pixels[:, :, start : start + self.time]


@torch.inference_mode()
def _rgb(pixels: Tensor) -> Tensor:
    """[frames, height, width, 3] in -1..1 to uint8."""
    return ((pixels.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).contiguous()
