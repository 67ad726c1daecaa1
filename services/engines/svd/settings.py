"""How a profile asks for SVD to be run; ``model-manifests/families/svd.yaml`` says what each key means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bootstrap.choose.plan import Plan

Offload = Literal["none", "model", "stream"]
Guidance = Literal["together", "apart"]


@dataclass(frozen=True)
class Settings:
    """The family's settings, typed."""

    offload: Offload
    guidance: Guidance
    feed_rows: int | None
    decode_chunk_size: int | None

    @classmethod
    def of(cls, plan: Plan) -> Settings:
        """The profile's, with the family's defaults. ``KitError`` for one that is unknown or not legal."""
        return cls(**plan.family.read_settings(plan.settings))
