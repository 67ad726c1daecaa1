"""From what was written, in a form, on a command line or as JSON, to ``Parameters``."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from pydantic import ValidationError

from services.parameters.error import RequestError
from services.parameters.table import NAMES, Parameters

# NUL and its kind, which terminals obey; halves of characters; what turns the direction of text around.
NOT_PLAIN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
NUMBER = re.compile(r"\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\s*", re.ASCII)
# 224*128 as Wan's own tools write it, 224 x 128, 224×128, with Cyrillic letters too
SIZE = re.compile(r"\s*([0-9]{2,5})\s*[xX*\u00d7\u2715\u2716\u0445\u0425]\s*([0-9]{2,5})\s*", re.ASCII)
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
    present = {name: value for name, value in given.items() if value is not None}  # null is absent
    for name in present:
        if name not in NAMES:
            raise _unknown(name[:LONGEST_NAME], (*NAMES, *also_known))
    present = {name: _plain(name, value) for name, value in present.items() if value != ""}
    try:
        return Parameters.model_validate(present)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0])
        raise _wrong(name, f"{first['msg'][0].lower()}{first['msg'][1:]}", first["input"]) from None


def is_plain(text: str) -> bool:
    """Can be kept and shown everywhere: in databases, in logs, on terminals."""
    return NOT_PLAIN.search(text) is None


def _plain(name: str, value: Any) -> Any:
    """The value as its field's type reads it. Raises ``RequestError`` for what only looks like it."""
    kind = _kind(name)
    is_number = kind in ("integer", "number")
    if isinstance(value, str):
        found = NOT_PLAIN.search(value)
        if found:
            shown = f"U+{ord(found[0]):04X}"
            raise RequestError(f"{name} holds the control character {shown}", fix="leave it out", param=name)
        if name == "size" and (sides := SIZE.fullmatch(unicodedata.normalize("NFKC", value[:40]))):
            return f"{sides[1]}x{sides[2]}"
    if is_number and (isinstance(value, bool) or (isinstance(value, str) and not NUMBER.fullmatch(value))):
        raise _wrong(name, "should be a number", value)
    return value


@cache
def _kind(name: str) -> str:
    kinds = Parameters.model_json_schema()["properties"][name]["anyOf"]
    return str(kinds[0].get("type"))


def _wrong(name: str, problem: str, value: object) -> RequestError:
    return RequestError(
        f"{name}: {problem}, not {_short(value)}", fix=_rule(name), param=name, code="invalid_value"
    )


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
