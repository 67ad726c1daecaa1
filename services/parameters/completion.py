"""From what a user gave to what an engine runs: defaults, presets, the model's limits, doubts."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bootstrap.choose.plan import Plan
from services.parameters import families, limits, prompt_length, rules
from services.parameters.error import RequestError
from services.parameters.table import Parameters


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
    chosen = _preset(given, plan) | given
    fallback = {**plan.family.defaults, **plan.defaults, **_fallbacks(chosen, plan)}
    names = families.names(plan.family)
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
    warnings += prompt_length.warnings(values, _tokens_read(plan))
    return Request(values, tuple(warnings))


def _check_family(given: Mapping[str, Any], plan: Plan, warnings: list[str]) -> None:
    for name in given:
        if name in plan.family.parameters:
            continue
        if name == "prompt":  # the videos API always sends one
            instead = ": it moves the photo" if "image" in plan.inputs else ""
            warnings.append(f"{plan.title} does not read prompts{instead}")
            continue
        raise RequestError(
            f"{plan.model} does not read {name}{_belongs(name)}",
            fix=f"leave {name} out",
            param=name,
            code="unsupported_parameter",
        )


def _belongs(name: str) -> str:
    titles = " and ".join(family.title for family in families.readers(name))
    return f": it belongs to {titles} models" if titles else ""


def _check_inputs(given: Mapping[str, Any], plan: Plan, has_image: bool | None) -> None:
    if has_image is False and "image" in plan.inputs and "image" not in plan.optional_inputs:
        raise RequestError(
            f"{plan.model} starts from an image, and none was given",
            fix="send a JPEG, PNG, WebP, AVIF or HEIC as input_reference",
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


def _preset(given: Mapping[str, Any], plan: Plan) -> dict[str, Any]:
    name = given.get("preset")
    if name is None:
        return {}
    presets = {preset.name: preset.values for preset in plan.family.presets}
    if name not in presets:
        raise RequestError(f"there is no preset {name!r}", fix=f"one of {', '.join(presets)}", param="preset")
    return presets[name]


def _fallbacks(chosen: Mapping[str, Any], plan: Plan) -> dict[str, Any]:
    """Other defaults where the family has some for what was chosen."""
    recipe = plan.family.read_recipe(plan.recipe)
    now = {**plan.defaults, **chosen}
    found = {
        name: recipe[key]
        for fallback in plan.family.fallbacks
        if rules.holds(fallback.when, now)
        for name, key in fallback.from_recipe.items()
    }
    return {name: value for name, value in found.items() if value is not None}


def _tokens_read(plan: Plan) -> int | None:
    name = plan.family.tokens_from_recipe
    return None if name is None else plan.family.read_recipe(plan.recipe)[name]


def _default_size(plan: Plan) -> limits.Size:
    if "size" in plan.defaults:
        return limits.parse_size(plan.defaults["size"])
    return int(plan.defaults["width"]), int(plan.defaults["height"])


def _check_ranges(values: Mapping[str, Any], plan: Plan, warnings: list[str]) -> None:
    """What one field's range cannot say."""
    low, high = plan.family.fps.minimum, plan.family.fps.maximum
    if not low <= values["fps"] <= high:
        raise RequestError(
            f"fps {values['fps']} is outside {low} to {high}", fix=f"ask for {low} to {high}", param="fps"
        )
    steps = values.get("num_inference_steps")
    if steps is not None and steps > plan.limits.max_steps:
        raise RequestError(
            f"{steps} steps are more than {plan.limits.max_steps}",
            fix=f"ask for at most {plan.limits.max_steps}",
            param="num_inference_steps",
        )
    rules.check(values, plan.family.rules, warnings)
