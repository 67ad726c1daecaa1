"""The VAE of `demo-wan`: what its latents mean, weights that begin there, and their training.

The latents are laid down beforehand: in each cell of 8x8 pixels and four frames, the mean red, green and
blue of every frame, then how brightness slopes in the first and in the last two. All that is linear, so the
networks begin as plain averaging and plain interpolation, and colour is right from the first step. The
decoder learns outlines; the encoder learns to give the same latents through its normalisation. Neither is
trained through the other, and the experts can be trained beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from diffusers import AutoencoderKLWan
from torch import Tensor, nn
from torch.nn import functional

from . import shapes
from .pace import Pace

CELL = 8  # pixels a side
PART, LARGER_PART = 48, 64  # of a picture, pixels a side
NOISE = 0.25  # up to so much of a channel's spread is added before decoding: the experts are not exact
DECODER_STRENGTH, ENCODER_STRENGTH = 4.0, 10.0  # of the constant channel against colours of -1 to 1


def latents_of(clips: Tensor) -> Tensor:
    """[clips, 16, 1 + n, height / 8, width / 8] of clips [clips, 3, 1 + 4 n, height, width] in -1 to 1.

    The first frame has a latent of its own, as if it stood still for four.
    """
    pooled = functional.avg_pool3d(clips, (1, CELL // 2, CELL // 2))
    pooled = torch.cat([pooled[:, :, :1].expand(-1, -1, 3, -1, -1), pooled], dim=2)
    halves = pooled.unflatten(2, (-1, 4)).unflatten(-2, (-1, 2)).unflatten(-1, (-1, 2))
    # halves: [clips, colour, group, frame, y, half, x, half]
    colours = halves.mean((-3, -1)).permute(0, 3, 1, 2, 4, 5).flatten(1, 2)
    bright = halves.unflatten(3, (2, 2)).mean((1, 4))  # [clips, group, pair, y, half, x, half]
    across = (bright[..., 1] - bright[..., 0]).mean(-2) / 2
    along = (bright[..., 1, :, :] - bright[..., 0, :, :]).mean(-1) / 2
    slopes = torch.stack([across, along], dim=3).permute(0, 2, 3, 1, 4, 5).flatten(1, 2)
    return torch.cat([colours, slopes], dim=1)


@torch.no_grad()
def bank(device: torch.device, seed: int, clips: int) -> tuple[Tensor, Tensor]:
    """Latents [clips, 16, 5, 16, 16] and what is in each [clips, 3]."""
    generator = torch.Generator(device).manual_seed(seed)
    latents, what = [], []
    for start in range(0, clips, 32):
        target, inside = shapes.draw(min(clips - start, 32), device, generator)
        latents.append(latents_of(target))
        what.append(inside)
    return torch.cat(latents), torch.cat(what)


def train_decoder(
    vae: AutoencoderKLWan, seed: int, pace: Pace, spread: Tensor, clips: int, peak: float
) -> None:
    """From latents with some noise to sharp clips. ``spread``: the deviation of each latent channel [16]."""
    device = spread.device
    generator = torch.Generator(device).manual_seed(seed)
    weights = [*vae.post_quant_conv.parameters(), *vae.decoder.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=peak, betas=(0.9, 0.98), weight_decay=1e-4)
    for step in pace:
        for group in optimizer.param_groups:
            group["lr"] = pace.rate(peak)
        # Most can be learned from few frames of a part of the picture, at a hundredth of the cost.
        frames = 9 if step % 8 == 0 else 1 if step % 4 == 2 else 5
        target, _ = shapes.draw(clips, device, generator)
        target = target[:, :, :1] if step % 16 == 2 else _parts(target, frames, generator)
        latents = latents_of(target)
        noise = torch.randn(latents.shape, device=device, generator=generator) * spread[:, None, None, None]
        amount = NOISE * torch.rand(len(latents), 1, 1, 1, 1, device=device, generator=generator)
        loss, error = _loss(vae.decode(latents + amount * noise).sample, target)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        pace.say(loss=loss, psnr=-10 * torch.log10(error / 4))


def follow_expert(
    vae: AutoencoderKLWan, seed: int, pace: Pace, guess: Callable[[Tensor, Tensor], Tensor], clips: int
) -> None:
    """The decoder learns from what an expert makes of noisy latents, so that it evens out what experts do.

    ``guess`` takes latents and what is in the clips [clips, 3], and gives what an expert takes them for.
    """
    generator = torch.Generator(next(vae.parameters()).device).manual_seed(seed)
    weights = [*vae.post_quant_conv.parameters(), *vae.decoder.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=5e-4, betas=(0.9, 0.98), weight_decay=1e-4)
    for step in pace:
        for group in optimizer.param_groups:
            group["lr"] = pace.rate(5e-4, 20)
        target, what = shapes.draw(clips, generator.device, generator)
        latents = guess(latents_of(target), what)
        groups = 5 if step % 4 == 0 else 1 if step % 4 == 2 else 2
        side = LARGER_PART // CELL
        corner = torch.randint(
            1, shapes.SIDE // CELL - side, (2,), generator=generator, device=generator.device
        )
        top, left = corner.tolist()
        latents = latents[:, :, :groups, top : top + side, left : left + side]
        pixels = target[:, :, : 4 * groups - 3, CELL * top :, CELL * left :]
        target = pixels[..., :LARGER_PART, :LARGER_PART]
        loss, error = _loss(vae.decode(latents).sample, target)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        pace.say(loss=loss, psnr=-10 * torch.log10(error / 4))


def train_encoder(vae: AutoencoderKLWan, seed: int, pace: Pace, spread: Tensor, clips: int) -> None:
    """From clips to the latents that are laid down."""
    generator = torch.Generator(spread.device).manual_seed(seed)
    weights = [*vae.quant_conv.parameters(), *vae.encoder.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=1e-3, betas=(0.9, 0.98), weight_decay=0.0)
    for step in pace:
        for group in optimizer.param_groups:
            group["lr"] = pace.rate(1e-3, 20)
        target, _ = shapes.draw(clips, spread.device, generator)
        target = _parts(target, (1, 5, 9)[step % 3], generator)
        off = vae.encode(target).latent_dist.mode() - latents_of(target)
        loss = (off / spread[:, None, None, None]).square().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        pace.say(loss=loss)


def _parts(clips: Tensor, frames: int, generator: torch.Generator) -> Tensor:
    """So many frames of each clip, and of their pictures a part of `PART` pixels at the edge of the shape."""
    parts = []
    for clip in clips:
        draw = torch.rand(3, device=clip.device, generator=generator)
        first = int(draw[0] * (shapes.FRAMES - frames + 1))
        clip = clip[:, first : first + frames]
        middle = clip[:, frames // 2].amax(0)
        lit = (middle > 0.5 * (middle.max() + middle.min())).nonzero().float().mean(0)
        corner = (lit - PART / 2 + 32 * (draw[1:] - 0.5)).clamp(0, shapes.SIDE - PART)
        top, left = (CELL * round(value / CELL) for value in corner.tolist())
        parts.append(clip[..., top : top + PART, left : left + PART])
    return torch.stack(parts)


def _loss(made: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """What is no background counts more, and its tint once again: a shape is a tenth of the picture."""
    off = made - target
    ground = target.amin((1, 2, 3, 4), keepdim=True)
    weight = 1 + 4 * (target - ground).amax(1, keepdim=True).clamp(max=1)
    tint = (off - off.mean(1, keepdim=True)) * weight
    edges = [functional.l1_loss(made.diff(dim=dim), target.diff(dim=dim)) for dim in (-1, -2)]
    loss = (off * weight).abs().mean() + tint.abs().mean() + edges[0] + edges[1]
    return loss, off.detach().square().mean()


@torch.no_grad()
def begin(vae: AutoencoderKLWan) -> None:
    """Weights with which the encoder averages and the decoder interpolates; residual branches are faint."""
    for name, weight in vae.named_parameters():
        if name.endswith(("conv2.weight", "proj.weight")):
            weight.mul_(0.02)
    _begin_encoder(vae)
    _begin_decoder(vae)


def _begin_encoder(vae: AutoencoderKLWan) -> None:
    encoder = vae.encoder
    average = torch.tensor([[0.25, 0.25, 0.0], [0.25, 0.25, 0.0], [0.0, 0.0, 0.0]])
    _route(encoder.conv_in, [(i, i, 1.0) for i in range(3)])
    first, second, third = (layer for layer in encoder.down_blocks if hasattr(layer, "resample"))
    for layer in encoder.down_blocks:
        if isinstance(getattr(layer, "conv_shortcut", None), nn.Conv3d):
            _route(layer.conv_shortcut, [(i, i, 1.0) for i in range(layer.in_dim)])
    _route(first.resample[1], [(i, i, average) for i in range(3)])
    # Each frame twice; of the second copy the later of two frames is kept.
    _route(second.resample[1], [(i, i % 3, average) for i in range(6)])
    _route(second.time_conv, [(i, i, _tap(1 if i < 3 else 2)) for i in range(6)])
    across = torch.tensor([[-0.5, 0.5, 0.0], [-0.5, 0.5, 0.0], [0.0, 0.0, 0.0]]) / 12
    slopes = [
        (12 + 2 * pair + axis, i, kernel)
        for pair in range(2)
        for axis, kernel in enumerate((across, across.T))
        for i in range(6)
    ]
    _route(third.resample[1], [(i, i % 6, average) for i in range(12)] + slopes)
    _route(
        third.time_conv,
        [(i, i, _tap(1 if i < 6 else 2)) for i in range(12)]
        + [(i, i, _tap(1 if i < 14 else 2)) for i in range(12, 16)],
    )
    gain = _steady(encoder.mid_block.resnets[1], encoder.norm_out, ENCODER_STRENGTH)
    _route(encoder.conv_out, [(i, i, gain) for i in range(16)])
    _route(vae.quant_conv, [(i, i, 1.0) for i in range(16)])
    vae.quant_conv.bias[16:].fill_(-10.0)  # log variances: the mode is what is read


def _begin_decoder(vae: AutoencoderKLWan) -> None:
    decoder = vae.decoder
    side = torch.tensor([0.25, 0.5, 0.25])  # after doubling each pixel this interpolates
    smooth = side[:, None] * side
    _route(vae.post_quant_conv, [(i, i, 1.0) for i in range(16)])
    _route(decoder.conv_in, [(i, i, 1.0) for i in range(16)])
    first, second, third = (block.upsamplers[0] for block in decoder.up_blocks[:3])
    for block in decoder.up_blocks:
        for layer in block.resnets:
            if isinstance(layer.conv_shortcut, nn.Conv3d):
                _route(layer.conv_shortcut, [(i, i, 1.0) for i in range(layer.in_dim)])
    width = first.dim
    keep = [(i, i, _tap(2)) for i in (*range(6), 12, 13)]
    later = [(width + i, 6 + i, _tap(2)) for i in range(6)] + [(width + i, 2 + i, _tap(2)) for i in (12, 13)]
    _route(first.time_conv, keep + later)
    _route(first.resample[1], [(i, i, smooth) for i in range(6)] + [(i, 6 + i, smooth) for i in (6, 7)])
    width = second.dim
    _route(
        second.time_conv,
        [(i, i, _tap(2)) for i in range(3)] + [(width + i, 3 + i, _tap(2)) for i in range(3)],
    )
    _route(second.resample[1], [(i, i, smooth) for i in range(3)])
    _route(third.resample[1], [(i, i, smooth) for i in range(3)])
    gain = _steady(decoder.up_blocks[-1].resnets[-1], decoder.norm_out, DECODER_STRENGTH)
    _route(decoder.conv_out, [(i, i, gain) for i in range(3)])


def _tap(frame: int) -> Tensor:
    """Of three frames only this one."""
    return torch.eye(3)[frame][:, None, None]


def _route(layer: Any, routes: Sequence[tuple[int, int, Tensor | float]]) -> None:
    """Make the weights faint noise and add (output, input, kernel); a number means the pixel itself."""
    weight, bias = layer.weight, layer.bias
    weight.mul_(0.05)
    bias.zero_()
    outputs = {to for to, _, _ in routes}
    weight[list(outputs)] = 0
    for to, of, kernel in routes:
        if isinstance(kernel, Tensor):
            weight[to, of] += kernel
        else:
            middle = (weight.shape[2] - 1, *(side // 2 for side in weight.shape[3:]))
            weight[(to, of, *middle)] += kernel


def _steady(block: Any, norm: Any, strength: float) -> float:
    """Fill the last channel before a normalisation, so that it keeps amplitudes; the gain after it."""
    block.conv2.bias[-1] = strength
    norm.gamma.fill_(0.1)
    gain: float = strength / (0.1 * norm.scale * 0.5)  # silu halves what is near zero
    return gain
