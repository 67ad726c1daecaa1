"""Trains the UNet and the image encoder of `demo`: from a picture and noise to the clip."""

from __future__ import annotations

import copy
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from diffusers.models.transformers.transformer_temporal import TransformerSpatioTemporalModel
from torch import Tensor, nn
from torch.nn import functional

from . import camera, svd_layout
from .pace import Pace
from .pictures import Album

SIGMA_MIN, SIGMA_MAX = (svd_layout.SCHEDULER_CONFIG[key] for key in ("sigma_min", "sigma_max"))
RHO = 7.0  # of the scheduler's Karras spacing
RENEWED_EVERY = 8  # steps; many pictures at once cost hardly more than few
FIRST = svd_layout.PICTURE_CHANNELS
MEAN = (0.48145466, 0.4578275, 0.40821073)  # of the CLIP preprocessor
STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass
class Shelf:
    """Encoded clips of one shape, used several times with other noise before they are replaced."""

    latents: Tensor  # [clips, frames, channels, height, width], the course in its channels
    seen: Tensor  # [clips, channels, height, width]: the picture as the pipeline conditions on it
    small: Tensor  # [clips, 3, 224, 224]: the picture for the image encoder
    course: Tensor  # [clips, 2]
    ids: Tensor  # [clips, 3]: fps - 1, motion bucket, noise augmentation


class Library:
    """Shelves for every shape that is trained."""

    def __init__(
        self, parts: svd_layout.Networks, album: Album, shapes: list[tuple[int, int, int]], clips: int,
        autocast: AbstractContextManager[None],
    ) -> None:  # fmt: skip
        self.parts, self.album, self.shapes, self.autocast = parts, album, shapes, autocast
        self.scale = float(parts.vae.config.scaling_factor)
        self.shelves = [self._make(shape, clips) for shape in shapes]
        self.next = [0] * len(shapes)

    def renew(self, which: int, count: int) -> None:
        """Replace the oldest clips of a shelf."""
        shelf = self.shelves[which]
        new = self._make(self.shapes[which], count)
        total = len(shelf.course)
        place = (torch.arange(count) + self.next[which]) % total
        for name in ("latents", "seen", "small", "course", "ids"):
            getattr(shelf, name)[place.to(shelf.course.device)] = getattr(new, name)
        self.next[which] = int(place[-1] + 1) % total

    def pick(self, which: int, count: int) -> Shelf:
        shelf = self.shelves[which]
        at = torch.randint(len(shelf.course), (count,), generator=self.album.choice).to(shelf.course.device)
        return Shelf(shelf.latents[at], shelf.seen[at], shelf.small[at], shelf.course[at], shelf.ids[at])

    @torch.no_grad()
    def _make(self, shape: tuple[int, int, int], clips: int) -> Shelf:
        batches = [self._batch(shape, min(16, clips - at)) for at in range(0, clips, 16)]
        names = ("latents", "seen", "small", "course", "ids")
        return Shelf(*(torch.cat([getattr(batch, name) for batch in batches]) for name in names))

    def _batch(self, shape: tuple[int, int, int], clips: int) -> Shelf:
        frames, height, width = shape
        album = self.album
        pictures = album.pictures(clips, height, width)
        course = torch.randn(clips, 2, device=album.device, generator=album.generator)
        draw = torch.rand(clips, 4, device=album.device, generator=album.generator)
        motion = (1 + 255 * draw[:, 0]).floor().clamp(1, 255)
        fps = (6 + 25 * draw[:, 1]).floor()
        kind = draw[:, 2]
        strength = torch.where(kind < 0.75, 0.02, torch.where(kind < 0.8, 0.0, 0.5 * draw[:, 3] ** 2))
        film = camera.film(pictures, course, motion, frames)
        noise = torch.randn(pictures.shape, device=album.device, generator=album.generator)
        noisy = pictures + strength[:, None, None, None] * noise
        with self.autocast:
            latents = torch.cat(
                [self.parts.vae.encode(piece).latent_dist.mode() for piece in film.flatten(0, 1).split(56)]
            )
            seen = self.parts.vae.encode(noisy).latent_dist.mode()
        latents = latents.float().unflatten(0, (clips, frames)) * self.scale
        latents[:, :, FIRST:] = course[:, None, :, None, None]
        small = functional.interpolate(
            pictures, (224, 224), mode="bicubic", antialias=True, align_corners=False
        )
        ids = torch.stack([fps - 1, motion, strength], dim=1)
        return Shelf(latents, seen.float(), small, course, ids)


def look(parts: svd_layout.Networks, small: Tensor) -> Tensor:
    """The image encoder's answer [batch, 1, 32] for pictures of 224 x 224 in -1 to 1."""
    mean = torch.tensor(MEAN, device=small.device)[:, None, None]
    std = torch.tensor(STD, device=small.device)[:, None, None]
    embeds: Tensor = parts.image_encoder(((small + 1) / 2 - mean) / std).image_embeds
    return embeds.unsqueeze(1)


def sigmas(count: int, album: Album) -> Tensor:
    """Spread as the sampler's steps are."""
    u = torch.rand(count, device=album.device, generator=album.generator)
    low, high = SIGMA_MIN ** (1 / RHO), SIGMA_MAX ** (1 / RHO)
    spread: Tensor = (high + u * (low - high)) ** RHO
    return spread


class Probes(nn.Module):
    """Reads the course off every cell behind each attention layer, while it trains.

    The course is a mean over all of the noise, a faint thing: asked for early in the network, it is
    learned in hundreds of steps instead of thousands. No part of the model that is kept.
    """

    def __init__(self, unet: nn.Module) -> None:
        super().__init__()
        layers = [layer for layer in unet.modules() if isinstance(layer, TransformerSpatioTemporalModel)]
        device = next(unet.parameters()).device
        self.heads = nn.ModuleList(nn.Conv2d(layer.in_channels, 2, 1, device=device) for layer in layers)
        self.answers: dict[int, Tensor] = {}
        for number, layer in enumerate(layers):
            layer.register_forward_hook(lambda _, __, output, n=number: self._read(n, output))

    def _read(self, number: int, output: tuple[Tensor, ...]) -> None:
        self.answers[number] = self.heads[number](output[0])

    def error(self, course: Tensor) -> Tensor:
        errors = []
        for _, answer in sorted(self.answers.items()):
            each = answer.float().unflatten(0, (len(course), -1))
            errors.append((each - course[:, None, :, None, None]).square().mean())
        return torch.stack(errors).mean()


def loss(parts: svd_layout.Networks, probes: Probes, batch: Shelf, album: Album) -> dict[str, Tensor]:
    """The errors of what the model takes for the clean clip: `picture`, `course`, and the `probes`."""
    latents = batch.latents
    noise = torch.randn(latents.shape, device=album.device, generator=album.generator)
    noise[:, :, FIRST:] = camera.into_noise(noise[:, :, FIRST:], batch.course)
    wide = sigmas(len(latents), album)[:, None, None, None, None]
    noisy = latents + wide * noise
    keep = (torch.rand(len(latents), device=album.device, generator=album.generator) > 0.03).float()
    seen = (batch.seen * keep[:, None, None, None])[:, None].expand_as(latents)
    context = look(parts, batch.small) * keep[:, None, None]
    given = torch.cat([noisy / (wide.square() + 1).sqrt(), seen], dim=2)
    velocity = parts.unet(
        given, 0.25 * wide.flatten().log(), context, added_time_ids=batch.ids
    ).sample.float()
    clean = noisy / (wide.square() + 1) - velocity * wide / (wide.square() + 1).sqrt()
    off = clean - latents
    # Nearly the absolute error: what cannot be known exactly stays sharper than with squares.
    picture = (off[:, :, :FIRST].square() + 0.01).sqrt().mean()
    return {
        "picture": picture,
        "course": off[:, :, FIRST:].square().mean(),
        "probes": probes.error(batch.course),
    }


def train(
    parts: svd_layout.Networks, library: Library, pace: Pace, autocast: AbstractContextManager[None],
    clips_per_step: int, renewed: int, peak: float = 1e-3,
) -> svd_layout.Networks:  # fmt: skip
    """Train in place and return the moving average of the weights, which is what is kept."""
    kept = svd_layout.Networks(parts.vae, copy.deepcopy(parts.unet), copy.deepcopy(parts.image_encoder))
    probes = Probes(parts.unet)
    weights = [*parts.unet.parameters(), *parts.image_encoder.parameters()]
    averages = [*kept.unet.parameters(), *kept.image_encoder.parameters()]
    optimizer = torch.optim.AdamW(
        [*weights, *probes.parameters()], lr=peak, betas=(0.9, 0.98), weight_decay=1e-3
    )
    order = [
        number
        for number, (frames, _, _) in enumerate(library.shapes)
        for _ in range(2 if frames == 14 else 1)
    ]
    for step in pace:
        for group in optimizer.param_groups:
            group["lr"] = pace.rate(peak, 100)
        which = order[step % len(order)]
        if step % RENEWED_EVERY == 0:
            library.renew(step // RENEWED_EVERY % len(library.shapes), renewed)
        batch = library.pick(which, max(1, clips_per_step * 14 // library.shapes[which][0]))
        with autocast:
            errors = loss(parts, probes, batch, library.album)
            value = errors["picture"] + 0.3 * errors["course"] + 0.1 * errors["probes"]
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(averages, weights, 1 - min(0.995, (step + 1) / (step + 10)))
        pace.say(**errors)
    return kept
