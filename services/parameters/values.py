"""A complete request as an engine reads it: typed attributes in place of names in a dict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal


@dataclass(frozen=True)
class Values:
    """One request. What the model's family does not read keeps its neutral default."""

    width: int
    height: int
    num_frames: int
    seed: int
    fps: int = 16
    num_inference_steps: int = 1
    prompt: str = ""
    negative_prompt: str = ""
    guidance_scale: float = 1.0  # 1 is off
    shift: float = 1.0
    lora: bool | None = None  # None: as the model's defaults say
    lora_high_strength: float | None = None
    lora_low_strength: float | None = None
    preset: str | None = None
    motion_bucket_id: int = 127
    noise_aug_strength: float = 0.0
    min_guidance_scale: float = 1.0
    max_guidance_scale: float = 1.0
    decode_chunk_size: int | None = None  # frames; None: as the profile says
    fit: Literal["crop", "pad", "stretch"] = "crop"

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Values:
        """From ``Request.values``: checked before, JSON types. Absent and None mean the default.

        A name that is no parameter is left out: another version of the kit may have written the record.
        """
        return cls(**{name: record[name] for name in NAMES if record.get(name) is not None})


NAMES: tuple[str, ...] = tuple(each.name for each in fields(Values))
