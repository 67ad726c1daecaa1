"""How a profile asks for Wan to be run, and the facts of a model that no request changes.

``model-manifests/families/wan.yaml`` says what each key means.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bootstrap.choose.plan import Plan

# *resident*: all blocks of all experts stay on the GPU. *swap*: it holds as many blocks as one expert has,
# and a block that was used for the last time is replaced by the other expert's. *stream*: a few slots only.
Placement = Literal["resident", "swap", "stream"]
Matmul = Literal["exact", "fp8"]
Place = Literal["resident", "gpu", "cpu"]


@dataclass(frozen=True)
class Settings:
    """The family's settings, typed."""

    experts: Placement
    text_encoder: Place
    vae_tiling: bool
    vae_frames: int
    matmul: Matmul

    @classmethod
    def of(cls, plan: Plan) -> Settings:
        """The profile's, with the family's defaults. ``KitError`` for one that is unknown or not legal."""
        return cls(**plan.family.read_settings(plan.settings))


@dataclass(frozen=True)
class Recipe:
    """The family's recipe, typed. The last three are read where a request is completed."""

    text_length: int
    steps_with_lora: int
    boundary_step: int | None
    boundary_ratio: float | None
    steps_without_lora: int
    guidance_without_lora: float | None
    shift_without_lora: float | None

    @classmethod
    def of(cls, plan: Plan) -> Recipe:
        """The model's, with the family's defaults. ``KitError`` for a key that is unknown or not legal."""
        return cls(**plan.family.read_recipe(plan.recipe))
