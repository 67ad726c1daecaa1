"""The studio's form: a control for each field of ``Parameters`` that the model reads."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Any, Literal, Union, get_args, get_origin

import gradio as gr
from pydantic.fields import FieldInfo

from bootstrap.choose.plan import Plan
from services.parameters import Parameters, complete, families

PHOTO = "input_reference"  # the API's name for it
LABELS = {
    "size": "Size",
    "num_frames": "Frames",
    "seconds": "Length in seconds",
    "fps": "Frames a second",
    "num_inference_steps": "Steps",
    "motion_bucket_id": "Motion",
    "noise_aug_strength": "Freedom from the photo",
    "min_guidance_scale": "Guidance, first frame",
    "max_guidance_scale": "Guidance, last frame",
    "decode_chunk_size": "Frames decoded together",
    "fit": "Fit of the photo",
    "lora": "4-step LoRAs",
    "lora_high_strength": "LoRA strength, high noise",
    "lora_low_strength": "LoRA strength, low noise",
}
MEANINGS = {"seed": "Same seed, same clip. Empty: a new one each time.", "size": "Width × height in pixels."}
# Offered first where the model allows them; any other legal size can be typed.
SIZES = (
    "1024x576",
    "576x1024",
    "832x480",
    "480x832",
    "1280x720",
    "720x1280",
    "1280x704",
    "704x1280",
    "672x384",
    "384x672",
    "640x640",
)


def components(plan: Plan) -> dict[str, Any]:
    """Create the form inside the open Gradio block. Keys are the API's field names, in the form's order."""
    fields: dict[str, Any] = {}
    if photo(plan) == "needed":
        fields[PHOTO] = _photo("Photo")
    for name, field in _of_group(plan, "main"):
        fields[name] = _control(plan, name, field)
        if name == "prompt" and photo(plan) == "optional":
            fields[PHOTO] = _photo("Photo (optional)")
    with gr.Accordion("More control", open=False, elem_classes="k-more"):
        for name, field in _of_group(plan, "more"):
            fields[name] = _control(plan, name, field)
        gr.Markdown("Exact size and length, instead of those above", elem_classes="k-note")
        for name, field in _of_group(plan, "size"):
            fields[name] = _control(plan, name, field)
    return fields


def photo(plan: Plan) -> Literal["none", "optional", "needed"]:
    """Does a clip of this model start from a photo?"""
    if "image" not in plan.inputs:
        return "none"
    return "optional" if "image" in plan.optional_inputs else "needed"


def labels() -> dict[str, str]:
    """The name of each field for people."""
    return {name: _label(name) for name in Parameters.model_fields}


def defaults(plan: Plan) -> dict[str, Any]:
    """What the form shows at first; None where the field is empty."""
    known = plan.family.defaults | plan.defaults
    return {name: known.get(name) for name, _ in _read_by(plan)} | {"size": _first_size(plan)}


def presets(plan: Plan) -> dict[str, dict[str, Any]]:
    """Name to values."""
    return {preset.name: preset.values for preset in plan.family.presets}


def make_label(plan: Plan) -> str:
    """The button's text, with the clip's length. The browser updates it (pages/studio.js)."""
    known = defaults(plan)
    frames, fps = known["num_frames"], known["fps"]
    return f"Make the clip, {frames / fps:.1f} s" if frames and fps else "Make the clip"


def texts(fields: dict[str, Any]) -> list[str]:
    """The fields whose controls hold text, numbers among them."""
    return [name for name, control in fields.items() if isinstance(control, gr.Textbox)]


def switches(plan: Plan) -> dict[str, dict[str, Any]]:
    """For each field that changes the defaults of others when it is switched off: those others' values."""
    found = {}
    for fallback in plan.family.fallbacks:
        for name, value in fallback.when.items():
            if value is False and plan.defaults.get(name):
                asked = {name: False} | ({"prompt": "any"} if "text" in plan.inputs else {})
                values = complete(Parameters.model_validate(asked), plan).values
                found[name] = {each: values[each] for each in fallback.from_recipe}
    return found


def _of_group(plan: Plan, group: str) -> Iterator[tuple[str, FieldInfo]]:
    return ((name, field) for name, field in _read_by(plan) if _extra(field)["group"] == group)


def _read_by(plan: Plan) -> Iterator[tuple[str, FieldInfo]]:
    """The fields that this model reads: a prompt where it takes text, LoRAs where it has some, and so on."""
    absent = {
        "prompt": "text" not in plan.inputs,
        "negative_prompt": "text" not in plan.inputs,
        "fit": "image" not in plan.inputs,
        **{name: other not in plan.defaults for name, other in plan.family.offered_with.items()},
    }
    for name in families.names(plan.family):
        if not absent.get(name):
            yield name, Parameters.model_fields[name]


def _extra(field: FieldInfo) -> dict[str, Any]:
    extra = field.json_schema_extra
    assert isinstance(extra, dict)
    return extra


def _photo(label: str) -> gr.Image:
    return gr.Image(
        label=label,
        type="filepath",
        sources=["upload"],  # pasting works everywhere on the page, see pages/studio.js
        buttons=[],
        height=220,
        elem_id="k-photo",
        placeholder="Drop or paste a photo here,\nor click to choose one",
    )


def _control(plan: Plan, name: str, field: FieldInfo) -> Any:
    value = defaults(plan)[name]
    about: dict[str, Any] = {"label": _label(name), "info": _meaning(plan, name, field)}
    if name in ("prompt", "negative_prompt"):
        return gr.Textbox(lines=3 if name == "prompt" else 2, max_length=_limit(field, "max_length"), **about)
    if name == "preset":
        about["info"] = "A good start; every value can be changed afterwards."
        named = [(_title(preset.name, preset.meaning), preset.name) for preset in plan.family.presets]
        return gr.Dropdown([("None", ""), *named], value="", **about)
    if name == "size":
        return gr.Dropdown(_sizes(plan), value=value, allow_custom_value=not plan.limits.sizes, **about)
    if name == "num_frames" and plan.limits.frames:
        return gr.Radio(list(plan.limits.frames), value=value, **about)
    return _by_type(plan, name, field, value, about)


def _by_type(plan: Plan, name: str, field: FieldInfo, value: Any, about: dict[str, Any]) -> Any:
    kind = _kind(field)
    if get_origin(kind) is Literal:
        return gr.Radio(list(get_args(kind)), value=value or get_args(kind)[0], **about)
    if kind is bool:
        return gr.Checkbox(value=bool(value), **about)
    low, high = _range(plan, name, field)
    step = 1 if kind is int else 0.01 if (high or 1) <= 2 else 0.1
    if value is None or low is None or high is None:
        # Text, because it can stay empty, and because a number in a browser loses digits above 2**53.
        hint = "random" if name == "seed" else "automatic"
        return gr.Textbox(value="" if value is None else str(value), max_lines=1, placeholder=hint, **about)
    if name == "num_frames":
        low, step = 1, plan.limits.frame_step
    return gr.Slider(low, high, value=value, step=step, buttons=["reset"], **about)


def _kind(field: FieldInfo) -> Any:
    """The type without its ``| None``."""
    annotation = field.annotation
    if get_origin(annotation) in (Union, types.UnionType):
        return next(kind for kind in get_args(annotation) if kind is not type(None))
    return annotation


def _range(plan: Plan, name: str, field: FieldInfo) -> tuple[float | None, float | None]:
    low, high = _limit(field, "ge"), _limit(field, "le")
    if name == "fps":
        low, high = plan.family.fps.minimum, plan.family.fps.maximum
    if name == "num_inference_steps":
        high = plan.limits.max_steps
    if name == "num_frames":
        high = plan.limits.max_frames or high
    return low, high


def _limit(field: FieldInfo, name: str) -> Any:
    return next((getattr(rule, name) for rule in field.metadata if hasattr(rule, name)), None)


def _label(name: str) -> str:
    return LABELS.get(name, name.replace("_", " ").capitalize())


def _meaning(plan: Plan, name: str, field: FieldInfo) -> str | None:
    return plan.family.meanings.get(name) or MEANINGS.get(name, field.description)


def _title(name: str, meaning: str) -> str:
    return f"{name.replace('-', ' ').capitalize()}: {meaning[0].lower()}{meaning[1:].rstrip('.')}"


def _default_size(plan: Plan) -> str:
    if "size" in plan.defaults:
        return str(plan.defaults["size"])
    return f"{plan.defaults['width']}x{plan.defaults['height']}"


def _first_size(plan: Plan) -> str:
    """Empty with a photo: the API then turns the default size as the photo is turned."""
    return _default_size(plan) if photo(plan) == "none" else ""


def _sizes(plan: Plan) -> list[tuple[str, str]]:
    """Label and value; the default first, then its other orientation, then the usual ones that are legal."""
    default = _default_size(plan)
    turned = "x".join(reversed(default.split("x")))
    offered = plan.limits.sizes or (default, turned, *(size for size in SIZES if _legal(plan, size)))
    first = (
        [(f"As the photo lies, {_named(default).partition(',')[0]}", "")] if _first_size(plan) == "" else []
    )
    return first + [(_named(size), size) for size in dict.fromkeys(offered)]


def _legal(plan: Plan, size: str) -> bool:
    width, height = (int(side) for side in size.split("x"))
    limits = plan.limits
    frames = plan.defaults.get("num_frames") or 1
    return (
        width % limits.size_multiple == height % limits.size_multiple == 0
        and (limits.max_pixels is None or width * height <= limits.max_pixels)
        and (limits.max_pixel_frames is None or width * height * frames <= limits.max_pixel_frames)
    )


def _named(size: str) -> str:
    width, height = (int(side) for side in size.split("x"))
    shape = "square" if width == height else "landscape" if width > height else "portrait"
    return f"{width} × {height}, {shape}"
