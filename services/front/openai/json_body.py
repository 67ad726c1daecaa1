"""A body in JSON. The image in it may be long; everything else is little, whatever was sent.

Long strings are cut out before the rest is parsed: millions of keys or of ``{}`` never become objects.
"""

from __future__ import annotations

import json
import secrets
from typing import Any, NoReturn

from services.front import refusals
from services.front.openai.image_field import LongText
from services.parameters import RequestError

LONG_BYTES = 64 * 1024  # only an image is so long
MOST_LONG = 8


def parse(body: bytes | bytearray, *, max_text_bytes: int) -> dict[str, Any]:
    """Strings of ``LONG_BYTES`` and more become ``LongText``. Raises ``ApiError`` or ``RequestError``."""
    encoding = json.detect_encoding(body) if body else "utf-8"
    if encoding not in ("utf-8", "utf-8-sig"):
        body = body.decode(encoding, "replace").encode()
    rest, long = _cut(body, max_text_bytes)
    try:
        given = json.loads(
            rest or b"{}", object_pairs_hook=lambda pairs: _object(pairs, long), parse_constant=_no_number
        )
    except (ValueError, RecursionError) as error:
        raise invalid(f"the body is no JSON: {error}", "send one JSON object") from None
    if not isinstance(given, dict):
        raise invalid("the body is no JSON object", "send {...}")
    return given


def invalid(problem: str, fix: str) -> RequestError:
    return RequestError(problem, fix=fix, param=None, code="invalid_json")


def _cut(body: bytes | bytearray, max_text_bytes: int) -> tuple[bytes, dict[str, LongText]]:
    """The JSON with a short name in the place of each long string, and those strings by their names."""
    kept: list[bytes | bytearray] = []
    long: dict[str, LongText] = {}
    rest = copied = at = 0  # bytes that are not in long strings; what is in kept; what was looked at
    while (start := body.find(b'"', at)) != -1:
        end, escaped = _closing(body, start + 1)
        is_long = end - start > LONG_BYTES
        rest += start - at + (2 * escaped if is_long else end - start)
        if rest > max_text_bytes or len(long) > MOST_LONG:
            raise refusals.text_too_large(max_text_bytes)
        if is_long:
            name = f"long-{secrets.token_hex(16)}"
            long[name] = LongText(bytes(body[start + 1 : end]), is_json=True)
            kept += [body[copied : start + 1], name.encode()]
            copied = end
        at = end + 1
    if rest + len(body) - min(at, len(body)) > max_text_bytes:
        raise refusals.text_too_large(max_text_bytes)
    kept.append(body[copied:])
    return b"".join(kept), long


def _closing(body: bytes | bytearray, at: int) -> tuple[int, int]:
    """Where the string that begins at ``at`` ends, and how many quotes are escaped in it."""
    escaped = 0
    while (end := body.find(b'"', at)) != -1:
        before = body[at:end]
        if (len(before) - len(before.rstrip(b"\\"))) % 2 == 0:
            return end, escaped
        escaped += 1
        at = end + 1
    return len(body), escaped


def _object(pairs: list[tuple[str, Any]], long: dict[str, LongText]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in long:
            raise invalid(f"a field's name has {len(long[name].raw)} bytes", "send names of this API")
        if name in found:
            raise RequestError(
                f"{name[:60]} is given twice", fix="give it once", param=name[:60], code="duplicate_field"
            )
        found[name] = _restored(value, long)
    return found


def _restored(value: Any, long: dict[str, LongText]) -> Any:
    if isinstance(value, list):
        return [_restored(each, long) for each in value]
    return long.get(value, value) if isinstance(value, str) else value


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")
