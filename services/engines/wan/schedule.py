"""The flow-matching schedule: which noise levels the steps visit, and which expert takes which step."""

from __future__ import annotations

from collections.abc import Sequence

from services.engines.wan.settings import Recipe

TIMESTEPS = 1000  # the models' timestep is 1000 * sigma, not rounded


def sigmas(steps: int, shift: float) -> list[float]:
    """Noise levels before each step and, last, 0: s*t / (1 + (s-1)*t) for ``steps`` even times t from 1."""
    times = [1 - step / steps for step in range(steps)]
    return [shift * time / (1 + (shift - 1) * time) for time in times] + [0.0]


def first_low_step(levels: Sequence[float], recipe: Recipe, *, lora: bool) -> int:
    """The step from which the low-noise expert works; ``len(levels) - 1`` when it never does.

    The LoRAs were made for a fixed share of the steps (2 of 4); without them the noise level decides.
    """
    steps = len(levels) - 1
    if lora and recipe.boundary_step is not None:
        share = recipe.boundary_step / recipe.steps_with_lora
        return max(1, round(steps * share)) if steps > 1 else 1
    boundary = recipe.boundary_ratio
    if boundary is None:
        return steps
    return next((step for step, level in enumerate(levels[:-1]) if level < boundary), steps)
