"""What may be asked of a clip: one table for the API's fields, the command's flags and the studio's sliders.

``Parameters`` is what a user gives: every field optional. Which models read a field says their family.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field


def _group(name: str) -> dict[str, Any]:
    """Where the studio shows the field."""
    return {"group": name}


class Parameters(BaseModel):
    """A request as the user wrote it. Absent means "the model's default"."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prompt: Annotated[
        str | None, Field(max_length=4000, description="What to show.", json_schema_extra=_group("main"))
    ] = None
    negative_prompt: Annotated[
        str | None,
        Field(
            max_length=4000,
            description="What to keep out; read only with guidance.",
            json_schema_extra=_group("more"),
        ),
    ] = None
    preset: Annotated[
        str | None,
        Field(
            description="A named set of the values below; what you give yourself wins.",
            json_schema_extra=_group("main"),
        ),
    ] = None
    size: Annotated[
        str | None,
        Field(
            pattern=r"^[1-9][0-9]{1,4}x[1-9][0-9]{1,4}$",
            description="WIDTHxHEIGHT.",
            json_schema_extra=_group("main"),
        ),
    ] = None
    width: Annotated[int | None, Field(ge=16, le=8192, json_schema_extra=_group("size"))] = None
    height: Annotated[int | None, Field(ge=16, le=8192, json_schema_extra=_group("size"))] = None
    num_frames: Annotated[
        int | None,
        Field(ge=1, le=2000, description="More frames, a longer clip.", json_schema_extra=_group("main")),
    ] = None
    seconds: Annotated[
        float | None,
        Field(
            gt=0,
            le=120,
            description="Length; becomes the nearest legal number of frames.",
            json_schema_extra=_group("size"),
        ),
    ] = None
    fps: Annotated[
        int | None,
        Field(
            ge=1,
            le=60,
            description="How fast the frames play.",
            json_schema_extra=_group("main"),
        ),
    ] = None
    seed: Annotated[
        int | None,
        Field(
            ge=0,
            le=2**63 - 1,
            description="Same seed, same clip; random when absent.",
            json_schema_extra=_group("main"),
        ),
    ] = None
    num_inference_steps: Annotated[
        int | None,
        Field(ge=1, le=100, description="More steps, finer and slower.", json_schema_extra=_group("main")),
    ] = None
    motion_bucket_id: Annotated[
        int | None,
        Field(
            ge=1,
            le=255,
            description="How much moves; above 200 clips fall apart.",
            json_schema_extra=_group("main"),
        ),
    ] = None
    noise_aug_strength: Annotated[
        float | None,
        Field(ge=0, le=1, description="How far it may leave the photo.", json_schema_extra=_group("main")),
    ] = None
    min_guidance_scale: Annotated[
        float | None,
        Field(ge=1, le=10, description="Guidance at the first frame.", json_schema_extra=_group("more")),
    ] = None
    max_guidance_scale: Annotated[
        float | None,
        Field(ge=1, le=10, description="Guidance at the last frame.", json_schema_extra=_group("more")),
    ] = None
    decode_chunk_size: Annotated[
        int | None,
        Field(
            ge=1,
            le=64,
            description="Frames decoded together: fewer takes less memory.",
            json_schema_extra=_group("more"),
        ),
    ] = None
    fit: Annotated[
        Literal["crop", "pad", "stretch"] | None,
        Field(description="How a photo of another shape is fitted.", json_schema_extra=_group("main")),
    ] = None
    guidance_scale: Annotated[
        float | None,
        Field(
            ge=1,
            le=20,
            description="1 is off; otherwise each step costs two passes.",
            json_schema_extra=_group("more"),
        ),
    ] = None
    shift: Annotated[
        float | None, Field(ge=1, le=20, description="Schedule shift.", json_schema_extra=_group("more"))
    ] = None
    lora: Annotated[
        bool | None,
        Field(description="The 4-step LoRAs; off needs 20 steps or more.", json_schema_extra=_group("more")),
    ] = None
    lora_high_strength: Annotated[float | None, Field(ge=0, le=2, json_schema_extra=_group("more"))] = None
    lora_low_strength: Annotated[float | None, Field(ge=0, le=2, json_schema_extra=_group("more"))] = None


NAMES: tuple[str, ...] = tuple(Parameters.model_fields)
