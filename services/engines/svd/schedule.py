"""Noise levels of a clip: Euler steps on v-predictions, spaced as Karras et al. (2022) do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from bootstrap.errors import KitError
from services.engines.svd.modules import config as configs

RHO = 7.0  # how strongly the steps gather at low noise


@dataclass(frozen=True)
class Steps:
    """``noise`` is what the first noise, of variance 1, is multiplied by."""

    sigmas: list[float]  # one more than steps; the last is 0
    timesteps: list[float]
    noise: float


@dataclass(frozen=True)
class Schedule:
    sigma_min: float
    sigma_max: float
    with_picture: bool  # the first latents have the variance of noise and picture, not of noise alone

    @classmethod
    def read(cls, config: Mapping[str, Any]) -> Schedule:
        """From a ``scheduler_config.json`` of ``EulerDiscreteScheduler``.

        Raises:
            KitError: it asks for a schedule that this engine does not have.
        """
        configs.only(config, "_class_name", "EulerDiscreteScheduler")
        for key, value in (
            ("prediction_type", "v_prediction"),
            ("timestep_type", "continuous"),
            ("use_karras_sigmas", True),
        ):
            configs.only({key: config.get(key)}, key, value)
        configs.only(config, "final_sigmas_type", "zero")
        sigma_min, sigma_max = config.get("sigma_min"), config.get("sigma_max")
        if not sigma_min or not sigma_max:
            raise KitError(
                "the scheduler's config names no sigma_min and sigma_max",
                fix="use the scheduler_config.json of Stable Video Diffusion",
            )
        spacing = configs.only(config, "timestep_spacing", "linspace", "leading", "trailing")
        return cls(float(sigma_min), float(sigma_max), with_picture=spacing == "leading")

    def steps(self, count: int) -> Steps:
        """For ``count`` steps, from much noise to none."""
        ends = self.sigma_max ** (1 / RHO), self.sigma_min ** (1 / RHO)
        ramp = np.linspace(0, 1, count)
        levels = (ends[0] + ramp * (ends[1] - ends[0])) ** RHO
        sigmas = torch.from_numpy(np.append(levels, 0).astype(np.float32))
        largest = sigmas.max()
        return Steps(
            sigmas.tolist(),
            (0.25 * sigmas[:-1].log()).tolist(),
            float((largest**2 + 1) ** 0.5 if self.with_picture else largest),
        )
