"""From what was written, in a form, on a command line or as JSON, to ``Parameters``."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from services.parameters.error import RequestError
from services.parameters.table import NAMES, Parameters

LONGEST_NAME = 60  # of an unknown field, as it is told
# What others call these.
OTHER_NAMES = {
    "steps": "num_inference_steps",
    "infer_steps": "num_inference_steps",
    "frames": "num_frames",
    "target_video_length": "num_frames",
    "duration": "seconds",
    "cfg": "guidance_scale",
    "flow_shift": "shift",
    "motion": "motion_bucket_id",
    "target_fps": "fps",
    "image": "input_reference",
    "image_url": "input_reference",
}


def parse(given: Mapping[str, Any], *, also_known: Iterable[str] = ()) -> Parameters:
    """Fields from a form, a command line or JSON; text is read as the field's type, an empty one is absent.

    Raises ``RequestError`` for the first mistake; an unknown name is told with the nearest of ours and
    of ``also_known``, which are names that the caller reads itself.
    """
    for name in given:
        if name not in NAMES:
            raise _unknown(name[:LONGEST_NAME], (*NAMES, *also_known))
    present = {name: value for name, value in given.items() if value not in ("", None)}
    for name, value in present.items():
        if isinstance(value, str) and not is_plain(value):
            raise RequestError(f"{name} holds characters that are no text", fix="leave them out", param=name)
    try:
        return Parameters.model_validate(present)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0])
        raise RequestError(
            f"{name}: {first['msg'][0].lower()}{first['msg'][1:]}, not {_short(first['input'])}",
            fix=_rule(name),
            param=name,
            code="invalid_value",
        ) from None


def is_plain(text: str) -> bool:
    """Can be kept and shown everywhere: no NUL, no half of a character."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def _unknown(name: str, known: Iterable[str]) -> RequestError:
    nearest = OTHER_NAMES.get(name) or next(iter(difflib.get_close_matches(name, list(known), 1, 0.5)), None)
    fix = f"did you mean {nearest}?" if nearest else f"known are {', '.join(known)}"
    return RequestError(f"there is no field {name!r}", fix=fix, param=name, code="unknown_field")


def _rule(name: str) -> str:
    """What a field takes, from the table."""
    schema = Parameters.model_json_schema()["properties"][name]
    kinds = [kind for kind in schema["anyOf"] if kind.get("type") != "null"]
    kind = kinds[0]
    if "enum" in kind:
        return f"one of {', '.join(kind['enum'])}"
    words = {
        "integer": "a whole number",
        "number": "a number",
        "boolean": "true or false",
        "string": "a text",
    }
    limit = ""
    if "maximum" in kind:
        least = f"from {kind['minimum']}" if "minimum" in kind else f"above {kind['exclusiveMinimum']:g}, up"
        limit = f" {least} to {kind['maximum']}"
    if "pattern" in kind:
        return "WIDTHxHEIGHT, for example 1024x576"
    if "maxLength" in kind:
        return f"a text of at most {kind['maxLength']} characters"
    return words[kind["type"]] + limit


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
