"""The denoising loop: Euler steps on v-predictions, latents in float32."""
# PyTorch's events have no types.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from services.engines.base import Cancel, Cancelled, Report
from services.engines.svd.conditioning import Conditioning
from services.engines.svd.schedule import Schedule
from services.engines.svd.transformer import Clip
from services.engines.svd.unet import Unet


@torch.inference_mode()
def sample(
    unet: Unet,
    schedule: Schedule,
    condition: Conditioning,
    noise: Tensor,
    guidance: Tensor,
    *,
    steps: int,
    together: bool,
    feed_rows: int | None,
    report: Report,
    cancelled: Cancelled,
) -> Tensor:
    """Turn ``noise`` [frames, channels, h, w] into latents of the same shape, float32.

    ``guidance`` holds one scale a frame; at 1 everywhere the unconditional branch is left out. ``together``
    runs both branches in one pass. ``feed_rows``: of a feed-forward layer at once, None is all.
    """
    known = schedule.steps(steps)
    predict = _predictor(unet, condition, guidance, together, feed_rows)
    latents = noise.permute(0, 2, 3, 1).float() * known.noise
    marks: list[torch.cuda.Event] = []
    for step in range(steps):
        if cancelled():
            raise Cancel
        sigma, next_sigma = known.sigmas[step : step + 2]
        scaled = latents / (sigma**2 + 1) ** 0.5
        velocity = predict(scaled, known.timesteps[step])
        denoised = velocity * (-sigma / (sigma**2 + 1) ** 0.5) + latents / (sigma**2 + 1)
        latents = latents + (latents - denoised) * ((next_sigma - sigma) / sigma)
        if noise.is_cuda:
            # The GPU works one step behind this loop: waiting for the step before keeps it busy, and honest.
            marks.append(torch.cuda.Event())
            marks[-1].record()
            if step:
                marks[step - 1].synchronize()
                report("sample", step, steps)
        else:
            report("sample", step + 1, steps)
    if marks:
        marks[-1].synchronize()
        report("sample", steps, steps)
    return latents.permute(0, 3, 1, 2).contiguous()


def _predictor(
    unet: Unet, condition: Conditioning, guidance: Tensor, together: bool, feed_rows: int | None
) -> Callable[[Tensor, float], Tensor]:
    """A function from scaled latents [frames, h, w, channels] and a timestep to the velocity."""
    frames, dtype = len(guidance), condition.embedding.dtype
    scale = guidance.to(condition.embedding.device)[:, None, None, None]
    photo = condition.latent.to(dtype).permute(0, 2, 3, 1).expand(frames, -1, -1, -1)
    nothing = torch.zeros_like(photo)
    embedding, no_embedding = condition.embedding, torch.zeros_like(condition.embedding)
    guided = bool(guidance.max() > 1)
    if not guided:
        branches = [(photo, embedding)]
    elif together:
        branches = [(torch.cat([nothing, photo]), torch.cat([no_embedding, embedding]))]
    else:
        branches = [(nothing, no_embedding), (photo, embedding)]
    clips = [Clip(frames, one, feed_rows) for _, one in branches]

    def predict(scaled: Tensor, timestep: float) -> Tensor:
        emb = unet.embed(torch.tensor([timestep], device=scaled.device), condition.time_ids)
        half = scaled.to(dtype)
        outputs = [
            unet(torch.cat((half.repeat(len(known) // frames, 1, 1, 1), known), -1), emb, clip).float()
            for (known, _), clip in zip(branches, clips, strict=True)
        ]
        output = torch.cat(outputs)
        if not guided:
            return output
        return torch.lerp(output[:frames], output[frames:], scale)

    return predict
