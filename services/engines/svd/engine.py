"""The engine: photo in, frames out, with progress and cancel between steps and between chunks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bootstrap.choose.plan import Plan
from bootstrap.errors import KitError
from services.engines import photo as photos
from services.engines.base import Cancelled, Report, Start
from services.engines.memory import OomAsError
from services.engines.start.files import Arriving
from services.engines.svd import checkpoint as checkpoints
from services.engines.svd import conditioning, sampling
from services.engines.svd.conditioning import Conditioning
from services.engines.svd.decoder import Decoder
from services.engines.svd.settings import Settings
from services.engines.svd.unet import Unet
from services.engines.weights.offload import Resident, Streamed, Visiting
from services.parameters.values import Values

FRAMES_AT_THE_END = 4  # of the last layers, so that encoding starts early


def load(plan: Plan, start: Start) -> SvdEngine:
    settings = Settings.of(plan)
    device = torch.device(plan.device)
    if device.type == "cuda":
        # Partial sums of a product stay in float32. cuDNN's search for its fastest convolutions stays off: on
        # an H200 it costs 20 s in the first clip and wins nothing.
        torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False
    elif settings.offload != "none":
        raise KitError(f"the profile sets offload: {settings.offload} without a GPU", fix="set offload: none")
    # What is offloaded is put together in host memory; only its turn brings it to the GPU.
    first = device if settings.offload == "none" else torch.device("cpu")
    arriving = Arriving(plan.arrivals, start)
    checkpoint = checkpoints.read(plan.components["pipeline"], first, dtype_on(device), arriving, start)
    return SvdEngine(checkpoint, device, settings)


def dtype_on(device: torch.device) -> torch.dtype:
    """What the weights are computed with."""
    return torch.float16 if device.type == "cuda" else torch.float32


class SvdEngine:
    """One loaded model, one clip at a time. Takes over the checkpoint's weights."""

    def __init__(self, checkpoint: checkpoints.Checkpoint, device: torch.device, settings: Settings) -> None:
        self.embedder = conditioning.Embedder(
            checkpoint.image_encoder, checkpoint.image_mean, checkpoint.image_std
        )
        self.encoder = conditioning.Encoder(checkpoint.vae)
        self.unet = Unet(checkpoint.unet)
        self.decoder = Decoder(checkpoint.vae)
        self.schedule = checkpoint.schedule
        self.channels = checkpoint.vae.latent_channels
        self.shrink = checkpoint.vae.shrink
        self.device = device
        self.settings = settings
        self._places = {
            module: self._place(module) for module in (self.embedder, self.encoder, self.unet, self.decoder)
        }

    def _place(self, module: nn.Module) -> Resident | Visiting | Streamed:
        if self.settings.offload == "none":
            return Resident(module, self.device)
        if self.settings.offload == "stream" and isinstance(module, Unet):
            return Streamed(module, module.units(), self.device)
        return Visiting(module, self.device)

    def generate(
        self, values: Values, image: Path | None, report: Report, cancelled: Cancelled
    ) -> Iterator[NDArray[np.uint8]]:
        """Yield RGB frames, uint8 [height, width, 3], in order."""
        if image is None:
            raise KitError(
                "this model animates a photo, and none was given", fix="add a photo to the request"
            )
        self._check(values.width, values.height)
        with OomAsError(self.device):
            photo = photos.read(image, width=values.width, height=values.height)
            latents = self.sample(values, photo, report, cancelled)
            yield from self.decode(latents, values.decode_chunk_size, report, cancelled)

    def sample(self, values: Values, photo: Tensor, report: Report, cancelled: Cancelled) -> Tensor:
        """The clip's latents, float32 [frames, channels, h, w]; ``photo`` [1, 3, height, width] in -1..1."""
        frames = values.num_frames
        # On the CPU, so that a seed gives the same clip on every device.
        generator = torch.Generator().manual_seed(values.seed)
        photo_noise = torch.randn(photo.shape, generator=generator)
        noise = torch.randn(self._latent_shape(values), generator=generator)
        report("encode", 0, 2)
        condition = self.condition(values, photo, photo_noise, report)
        guidance = torch.linspace(values.min_guidance_scale, values.max_guidance_scale, frames)
        with self._places[self.unet].here():
            return sampling.sample(
                self.unet,
                self.schedule,
                condition,
                noise.to(self.device),
                guidance,
                steps=values.num_inference_steps,
                together=self.settings.guidance == "together",
                feed_rows=self.settings.feed_rows,
                report=report,
                cancelled=cancelled,
            )

    def condition(self, values: Values, photo: Tensor, photo_noise: Tensor, report: Report) -> Conditioning:
        """What the UNet is told, on the device."""
        with self._places[self.embedder].here():
            embedding = self.embedder(photo)
        report("encode", 1, 2)
        with self._places[self.encoder].here():
            latent = self.encoder(photo + values.noise_aug_strength * photo_noise)
        report("encode", 2, 2)
        numbers = conditioning.time_ids(
            fps=values.fps,
            motion_bucket_id=values.motion_bucket_id,
            noise_aug_strength=values.noise_aug_strength,
        )
        return Conditioning(embedding, latent, numbers.to(self.device))

    def decode(
        self, latents: Tensor, chunk: int | None, report: Report, cancelled: Cancelled
    ) -> Iterator[NDArray[np.uint8]]:
        """Latents to frames. ``chunk`` frames at a time, or as the profile says: the result is the same."""
        count, done = len(latents), 0
        report("decode", 0, count)
        for part in self.pixels(latents, chunk, cancelled):
            frames: NDArray[np.uint8] = part.cpu().numpy()
            done += len(frames)
            report("decode", done, count)
            yield from frames

    def pixels(self, latents: Tensor, chunk: int | None, cancelled: Cancelled) -> Iterator[Tensor]:
        """The same as uint8 [n, height, width, 3], a few frames at a time, where they were computed."""
        count = len(latents)
        chunk = min(chunk or count, self.settings.decode_chunk_size or count, count)
        with self._places[self.decoder].here():
            features = self.decoder.features(latents, chunk, cancelled)
            yield from self.decoder.frames(features, min(chunk, FRAMES_AT_THE_END), cancelled)

    def _latent_shape(self, values: Values) -> tuple[int, int, int, int]:
        return (
            values.num_frames,
            self.channels,
            values.height // self.shrink,
            values.width // self.shrink,
        )

    def _check(self, width: int, height: int) -> None:
        step = self.shrink
        if width % step or height % step:
            raise KitError(
                f"the clip's size {width}x{height} is not a multiple of {step} both ways",
                fix=f"ask for {round(width / step) * step}x{round(height / step) * step}",
            )
