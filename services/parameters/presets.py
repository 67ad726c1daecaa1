"""Named starting points for SVD: what to ask for when you know the photo and not the numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Preset:
    """``values`` are request parameters; what the user gives wins over them."""

    name: str
    meaning: str  # one line for people
    values: dict[str, Any]


_ALL = (
    Preset(
        "standard",
        "Any photo: the values the model was trained around.",
        {"motion_bucket_id": 127, "noise_aug_strength": 0.02, "fps": 7},
    ),
    Preset(
        "product",
        "Things on a table: slow and steady, close to the photo.",
        {"motion_bucket_id": 60, "noise_aug_strength": 0.02, "fps": 8, "max_guidance_scale": 2.5},
    ),
    Preset(
        "action",
        "Sport, cars, water: much movement, further from the photo.",
        {"motion_bucket_id": 180, "noise_aug_strength": 0.05, "fps": 12},
    ),
    Preset(
        "anime-still",
        "Drawn scenes: lines stay sharp, little moves.",
        {"motion_bucket_id": 50, "noise_aug_strength": 0.0, "fps": 8, "max_guidance_scale": 2.5},
    ),
    Preset(
        "anime-face",
        "Drawn faces: hair and eyes move, the face keeps its shape.",
        {"motion_bucket_id": 80, "noise_aug_strength": 0.01, "fps": 8, "max_guidance_scale": 2.5},
    ),
    Preset(
        "anime-motion",
        "Drawn action: strong movement, some lines may bend.",
        {"motion_bucket_id": 150, "noise_aug_strength": 0.04, "fps": 12},
    ),
    Preset(
        "low-quality",
        "Small, noisy or compressed photos: more noise lets the model redraw what is broken.",
        {"motion_bucket_id": 100, "noise_aug_strength": 0.1, "fps": 7, "num_inference_steps": 30},
    ),
)
PRESETS: dict[str, Preset] = {preset.name: preset for preset in _ALL}
