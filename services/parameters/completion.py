"""From what a user gave to what an engine runs: defaults, presets, the model's limits, doubts."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bootstrap.choose.plan import Plan
from services.parameters import limits
from services.parameters.error import RequestError
from services.parameters.presets import PRESETS
from services.parameters.table import FAMILY_TITLES, FPS_RANGE, NAMES, Parameters, families

RESTLESS_MOTION = 200
STEPS_WITHOUT_LORA = 20


@dataclass(frozen=True)
class Request:
    """A request with nothing left open: what an engine runs and what the clip's metadata records."""

    values: dict[str, Any]  # every parameter of the family, JSON types; size is width and height here
    warnings: tuple[str, ...] = ()


def complete(
    parameters: Parameters,
    plan: Plan,
    *,
    has_image: bool | None = None,
    image_size: tuple[int, int] | None = None,
    draw_seed: Callable[[], int] = lambda: secrets.randbits(31),
) -> Request:
    """Fill in what is absent, check the model's limits, say what was changed or is doubtful.

    Given values win over the preset's, those over the plan's defaults. ``has_image`` None: not known, not
    checked. ``image_size`` (width, height, as seen upright) turns the default size to the photo's side.

    Raises ``RequestError``.
    """
    warnings: list[str] = []
    given = parameters.model_dump(exclude_none=True)
    _check_family(given, plan, warnings)
    _check_inputs(given, plan, has_image)
    chosen = _preset(given) | given
    fallback = {"fit": "crop", "fps": 16, **plan.defaults, **_without_lora(chosen, plan)}
    names = [name for name in NAMES if plan.family in families(name)]
    values: dict[str, Any] = {name: chosen.get(name, fallback.get(name)) for name in names}
    if values["seed"] is None:
        values["seed"] = draw_seed()
    _check_ranges(values, plan, warnings)
    values["width"], values["height"] = limits.size(
        given, plan.limits, default=_default_size(plan), image_size=image_size, warnings=warnings
    )
    values["num_frames"] = limits.frames(
        chosen, plan.limits, default=int(fallback.get("num_frames", 1)), fps=values["fps"], warnings=warnings
    )
    limits.check_memory(values["width"], values["height"], values["num_frames"], plan.limits)
    del values["size"], values["seconds"]
    return Request(values, tuple(warnings))


def _check_family(given: Mapping[str, Any], plan: Plan, warnings: list[str]) -> None:
    for name in given:
        if plan.family in families(name):
            continue
        if name == "prompt":  # the videos API always sends one
            warnings.append(f"{plan.title} does not read prompts: it moves the photo")
            continue
        raise RequestError(
            f"{plan.model} does not read {name}: it belongs to {_titles(name)} models",
            fix=f"leave {name} out",
            param=name,
            code="unsupported_parameter",
        )


def _titles(name: str) -> str:
    return " and ".join(FAMILY_TITLES[family] for family in families(name))


def _check_inputs(given: Mapping[str, Any], plan: Plan, has_image: bool | None) -> None:
    optional = plan.recipe.get("image") == "optional"
    if has_image is False and "image" in plan.inputs and not optional:
        raise RequestError(
            f"{plan.model} starts from an image, and none was given",
            fix="send a JPEG, PNG or WebP as input_reference",
            param="input_reference",
            code="image_required",
        )
    if has_image and "image" not in plan.inputs:
        raise RequestError(
            f"{plan.model} makes clips from text and reads no image",
            fix="leave input_reference out, or run a model that starts from an image",
            param="input_reference",
            code="image_not_supported",
        )
    if "text" in plan.inputs and not given.get("prompt", "").strip():
        raise RequestError(
            f"{plan.model} needs a prompt", fix="say what to show", param="prompt", code="prompt_required"
        )


def _preset(given: Mapping[str, Any]) -> dict[str, Any]:
    name = given.get("preset")
    if name is None:
        return {}
    if name not in PRESETS:
        raise RequestError(f"there is no preset {name!r}", fix=f"one of {', '.join(PRESETS)}", param="preset")
    return PRESETS[name].values


def _without_lora(chosen: Mapping[str, Any], plan: Plan) -> dict[str, Any]:
    """Other defaults for a Wan model whose few-step LoRAs are switched off."""
    if chosen.get("lora", plan.defaults.get("lora")) is not False:
        return {}
    recipe = plan.recipe
    found = {
        "num_inference_steps": recipe.get("steps_without_lora", STEPS_WITHOUT_LORA),
        "guidance_scale": recipe.get("guidance_without_lora"),
        "shift": recipe.get("shift_without_lora"),
    }
    return {name: value for name, value in found.items() if value is not None}


def _default_size(plan: Plan) -> limits.Size:
    if "size" in plan.defaults:
        return limits.parse_size(plan.defaults["size"])
    return int(plan.defaults["width"]), int(plan.defaults["height"])


def _check_ranges(values: Mapping[str, Any], plan: Plan, warnings: list[str]) -> None:
    """What one field's range cannot say."""
    low, high = FPS_RANGE[plan.family]
    if not low <= values["fps"] <= high:
        raise RequestError(
            f"fps {values['fps']} is outside {low} to {high}", fix=f"ask for {low} to {high}", param="fps"
        )
    steps = values["num_inference_steps"]
    if steps is not None and steps > plan.limits.max_steps:
        raise RequestError(
            f"{steps} steps are more than {plan.limits.max_steps}",
            fix=f"ask for at most {plan.limits.max_steps}",
            param="num_inference_steps",
        )
    if plan.family == "svd":
        _check_svd(values, warnings)
    else:
        _check_wan(values, warnings)


def _check_svd(values: Mapping[str, Any], warnings: list[str]) -> None:
    least, most = values["min_guidance_scale"], values["max_guidance_scale"]
    if least is not None and most is not None and least > most:
        raise RequestError(
            f"min_guidance_scale {least:g} is above max_guidance_scale {most:g}",
            fix=f"give at most {most:g}, or raise max_guidance_scale",
            param="min_guidance_scale",
        )
    motion = values["motion_bucket_id"]
    if motion is not None and motion > RESTLESS_MOTION:
        warnings.append(f"motion_bucket_id {motion} is above {RESTLESS_MOTION}: clips tend to fall apart")


def _check_wan(values: Mapping[str, Any], warnings: list[str]) -> None:
    guidance = values["guidance_scale"]
    if values["negative_prompt"] and (guidance is None or guidance <= 1):
        warnings.append("negative_prompt is read only with guidance_scale above 1")
    steps = values["num_inference_steps"]
    if values["lora"] is False and steps is not None and steps < STEPS_WITHOUT_LORA:
        warnings.append(
            f"{steps} steps without the LoRAs: {STEPS_WITHOUT_LORA} or more are needed for a clean clip"
        )
