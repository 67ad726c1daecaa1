"""Trains the VAE of `demo`: pictures to six latent channels at a quarter of the size, and clips back."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from diffusers import AutoencoderKLTemporalDecoder
from torch import Tensor
from torch.nn import functional

from . import camera, svd_layout
from .pace import Pace
from .pictures import Album

SIZES = ((128, 224), (224, 128), (176, 176))
PATCH = 96


def empty_course(vae: AutoencoderKLTemporalDecoder) -> None:
    """The encoder writes zeros into the course channels and the decoder does not read them."""
    with torch.no_grad():
        first, count = svd_layout.PICTURE_CHANNELS, svd_layout.LATENT_CHANNELS
        vae.quant_conv.weight[first:].zero_()
        vae.quant_conv.bias[first:count].zero_()
        vae.quant_conv.bias[count:].fill_(-10.0)  # log variances: the pipeline reads the mode only
        vae.decoder.conv_in.weight[:, first:].zero_()


def train(
    vae: AutoencoderKLTemporalDecoder,
    album: Album,
    pace: Pace,
    autocast: AbstractContextManager[None],
    pixels: int,
    peak: float,
) -> None:
    """``pixels`` to decode in one step. The last third sees whole frames, the rest patches."""
    empty_course(vae)
    optimizer = torch.optim.AdamW(vae.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=1e-4)
    choose = torch.Generator().manual_seed(5)
    for step in pace:
        for group in optimizer.param_groups:
            group["lr"] = pace.rate(peak)
        frames = (1, 2, 4, 7, 7, 14)[int(torch.randint(6, (1,), generator=choose))]
        whole = pace.share > 0.65
        height, width = SIZES[step % 3] if whole else (PATCH, PATCH)
        clips = max(1, pixels // (height * width * frames))
        with torch.no_grad():
            target = _clips(album, clips, frames, height, width)
        with autocast:
            loss, error = _loss(vae, album, target, frames)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        empty_course(vae)
        pace.say(loss=loss, psnr=-10 * torch.log10(error / 4))


def _clips(album: Album, clips: int, frames: int, height: int, width: int) -> Tensor:
    pictures = album.pictures(clips, height, width)
    if frames == 1:
        return pictures
    course = torch.randn(clips, 2, device=album.device, generator=album.generator)
    motion = 1 + 254 * torch.rand(clips, device=album.device, generator=album.generator)
    return camera.film(pictures, course, motion, frames).flatten(0, 1)


def _loss(
    vae: AutoencoderKLTemporalDecoder, album: Album, target: Tensor, frames: int
) -> tuple[Tensor, Tensor]:
    mode = vae.encode(target).latent_dist.mode()
    picture = mode[:, : svd_layout.PICTURE_CHANNELS].float()
    spread = picture.var((0, 2, 3), unbiased=False)
    level = picture.mean((0, 2, 3)).square().mean() + (spread - 1).square().mean()
    noise = torch.randn(mode.shape, device=mode.device, generator=album.generator)
    latent = mode + 0.04 * noise
    if torch.rand(1, generator=album.choice) < 0.3:
        # Latents that move as the picture does are easier to animate.
        grid = _shift(len(target) // frames, album).repeat_interleave(frames, dim=0)
        latent, target = _moved(latent.float(), grid), _moved(target, grid)
    made = vae.decode(latent, num_frames=frames).sample.float()
    off = made - target
    edges = functional.l1_loss(made.diff(dim=-1), target.diff(dim=-1)) + functional.l1_loss(
        made.diff(dim=-2), target.diff(dim=-2)
    )
    return (
        off.abs().mean() + 2 * off.square().mean() + 0.5 * edges + 0.01 * level,
        off.square().mean().detach(),
    )


def _shift(count: int, album: Album) -> Tensor:
    """Small random zooms and shifts, as affine matrices [count, 2, 3]."""
    draw = torch.rand(count, 3, device=album.device, generator=album.generator) * 2 - 1
    matrix = torch.zeros(count, 2, 3, device=album.device)
    matrix[:, 0, 0] = matrix[:, 1, 1] = 1 - 0.08 * (draw[:, 0] + 1) / 2
    matrix[:, 0, 2], matrix[:, 1, 2] = 0.06 * draw[:, 1], 0.06 * draw[:, 2]
    return matrix


def _moved(image: Tensor, matrix: Tensor) -> Tensor:
    grid = functional.affine_grid(matrix, list(image.shape), align_corners=True)
    return functional.grid_sample(image, grid, "bilinear", padding_mode="reflection", align_corners=True)


def scaling_factor(vae: AutoencoderKLTemporalDecoder, album: Album) -> float:
    """One over the spread of the latents of pictures."""
    with torch.no_grad():
        latents = [
            vae.encode(album.pictures(8, *size))
            .latent_dist.mode()[:, : svd_layout.PICTURE_CHANNELS]
            .flatten()
            for size in SIZES
        ]
    return 1.0 / float(torch.cat(latents).std())
