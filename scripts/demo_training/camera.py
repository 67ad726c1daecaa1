"""The camera's course over a picture: which way, how fast, and what it sees. All on torch tensors.

A course is two numbers that come from the noise itself (the mean of the two course channels), so the
direction follows from the seed. The motion bucket sets the speed; what is lower in the picture is nearer and
moves faster; the camera always moves slowly in.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

PAN = 0.9  # pixels a frame at motion 255
ZOOM = 0.005  # growth a frame at motion 255
NEAR, FAR = 1.45, 0.55  # the pan of the bottom and of the top row, relative to the middle


def from_noise(noise: Tensor) -> Tensor:
    """The course [batch, 2] in noise [batch, frames, 2, height, width]: standard normal."""
    cells = noise.shape[1] * noise.shape[3] * noise.shape[4]
    course: Tensor = noise.mean(dim=(1, 3, 4)) * cells**0.5
    return course


def into_noise(noise: Tensor, course: Tensor) -> Tensor:
    """The same noise with another course: what `from_noise` reads is `course` [batch, 2]."""
    cells = noise.shape[1] * noise.shape[3] * noise.shape[4]
    changed: Tensor = noise + ((course - from_noise(noise)) / cells**0.5)[:, None, :, None, None]
    return changed


def film(pictures: Tensor, course: Tensor, motion: Tensor, frames: int) -> Tensor:
    """Frames [batch, frames, 3, height, width] of pictures [batch, 3, height, width]; they come first.

    ``motion``: [batch], 1 to 255. Beyond the picture's edge its mirror image is seen.
    """
    batch, _, height, width = pictures.shape
    device = pictures.device
    direction = course / (course.square().sum(1, keepdim=True) + 0.05).sqrt()
    speed = (motion / 255.0)[:, None] * torch.arange(frames, device=device)  # [batch, frames]
    y = torch.linspace(-1, 1, height, device=device)[:, None].expand(height, width)
    x = torch.linspace(-1, 1, width, device=device)[None].expand(height, width)
    depth = FAR + (NEAR - FAR) * (y + 1) / 2
    zoom = (1 + ZOOM * speed)[..., None, None]
    step = 2 * PAN * speed[..., None, None]
    at_x = x / zoom + step / width * direction[:, 0, None, None, None] * depth
    at_y = y / zoom + step / height * direction[:, 1, None, None, None] * depth
    grid = torch.stack([at_x, at_y], dim=-1).flatten(0, 1)
    source = pictures.repeat_interleave(frames, dim=0)
    seen = functional.grid_sample(source, grid, "bicubic", padding_mode="reflection", align_corners=True)
    clip: Tensor = seen.clamp(-1, 1).unflatten(0, (batch, frames))
    return clip
