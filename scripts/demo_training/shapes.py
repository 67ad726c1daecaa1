"""Clips of one coloured shape that moves, and the prompts for them: what `demo-wan` is trained on."""

from __future__ import annotations

import torch
from torch import Tensor

from . import wan_layout

SIDE, FRAMES = 128, 17
PATH = 60.0  # pixels that a shape travels in a clip
RGB = {
    "red": (0.90, 0.10, 0.10), "green": (0.10, 0.75, 0.15), "blue": (0.12, 0.22, 0.95),
    "yellow": (0.95, 0.90, 0.10), "magenta": (0.90, 0.12, 0.85), "cyan": (0.10, 0.85, 0.90),
    "orange": (0.98, 0.50, 0.05), "white": (0.95, 0.95, 0.95),
}  # fmt: skip
DIRECTION = {"right": (1.0, 0.0), "left": (-1.0, 0.0), "up": (0.0, -1.0), "down": (0.0, 1.0)}
WORDINGS = (
    "a {colour} {shape} moving {motion}",
    "{colour} {shape} moving {motion}",
    "the {colour} {shape} is moving {motion}",
    "a {colour} {shape} moves {motion}",
)


def draw(count: int, device: torch.device, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Clips [count, 3, frames, side, side] in -1 to 1, and colour, shape and motion of each [count, 3]."""

    def rand(*shape: int) -> Tensor:
        return torch.rand(*shape, device=device, generator=generator)

    limits = (len(wan_layout.COLOURS), len(wan_layout.SHAPES), len(wan_layout.MOTIONS))
    what = torch.stack([(rand(count) * limit).long().clamp(max=limit - 1) for limit in limits], dim=1)
    colours = torch.tensor([RGB[name] for name in wan_layout.COLOURS], device=device)
    directions = torch.tensor([DIRECTION[name] for name in wan_layout.MOTIONS], device=device)
    direction = directions[what[:, 2]]
    time = torch.linspace(-0.5, 0.5, FRAMES, device=device)
    place = SIDE / 2 + 16 * (rand(count, 1, 2) - 0.5) + PATH * time[None, :, None] * direction[:, None]
    y = torch.arange(SIDE, device=device, dtype=torch.float32)[:, None]
    x = torch.arange(SIDE, device=device, dtype=torch.float32)[None]
    right = x - place[..., 0, None, None]
    below = y - place[..., 1, None, None]
    size = 18 + 8 * rand(count, 1, 1, 1)
    circle = size - (right.square() + below.square()).sqrt()
    square = size * 0.9 - torch.maximum(right.abs(), below.abs())
    triangle = torch.minimum(size * 0.8 - below, (below + size - 2 * right.abs() * 0.9) / 1.8)
    edge = torch.stack([circle, square, triangle], dim=1)[torch.arange(count, device=device), what[:, 1]]
    mask = (edge * 0.7 + 0.5).clamp(0, 1)[:, None]  # [count, 1, frames, side, side]
    tint = colours[what[:, 0]][:, :, None, None, None] * (0.92 + 0.08 * rand(count, 1, 1, 1, 1))
    shade = 0.08 + 0.06 * rand(count, 1, 1, 1, 1)
    slope = (y / SIDE - 0.5)[None, None, None] * 0.04
    ground = (shade + slope).expand(count, 3, FRAMES, SIDE, SIDE)
    return torch.lerp(ground, tint.expand_as(ground), mask) * 2 - 1, what


def words(what: Tensor, wording: int = 0) -> str:
    """The prompt for one row of `draw`'s second answer."""
    colour, shape, motion = (int(value) for value in what)
    return WORDINGS[wording].format(
        colour=wan_layout.COLOURS[colour], shape=wan_layout.SHAPES[shape], motion=wan_layout.MOTIONS[motion]
    )
