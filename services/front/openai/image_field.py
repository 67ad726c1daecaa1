"""The image of a request in any of the forms that clients send: file, base64, data URL, objects around it."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.front.creation.remote_image import Address
from services.parameters import RequestError, images

# What clients call it; one of them may be given.
NAMES = (
    "input_reference",
    "image_reference",
    "image",
    "images",
    "image_url",
    "input_image",
    "init_image",
    "first_frame_image",
)
# Keys that hold the image, or an object with it, in the dialects that programs were written for.
INNER = (
    "image_url",
    "url",
    "b64_json",
    "base64",
    "data",
    "image",
    "source",
    "inline_data",
    "inlineData",
    "bytesBase64Encoded",
)
DEEPEST = 4
MOST_ESCAPES = 100_000  # of the percent kind, beside those that base64 needs
URL_SAFE = bytes.maketrans(b"-_", b"+/")
WHITE_SPACE = b" \t\r\n\f\v"
# As base64 is percent-encoded; replaced first, since there are many of them.
USUAL_ESCAPES = {b"%2B": b"+", b"%2F": b"/", b"%3D": b"=", b"%0A": b"", b"%0D": b"", b"%20": b""}
ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")
SCHEME = re.compile(rb"([a-z][a-z0-9+.-]*):", re.IGNORECASE)
DATA_URL = re.compile(rb"\s*(data:)?([^,]{0,300}),", re.IGNORECASE)


@dataclass(frozen=True)
class LongText:
    """Text that is too long for anything but an image; ``is_json``: as it stands between JSON's quotes."""

    raw: bytes
    is_json: bool = False


def is_absent(value: Any) -> bool:
    """Typed clients write null for what is unset, also within objects."""
    if isinstance(value, Mapping) and value:
        return all(each is None for each in value.values())
    return value is None or value == "" or value == []


def read(value: Any, name: str, max_bytes: int) -> bytes | Address:
    """The image's bytes, or its address. Raises ``RequestError``; ``name`` is the field's."""
    inner = _unwrapped(value, name)
    if isinstance(inner, bytes):
        if not inner:
            raise images.empty()
        return inner
    text = _text(inner, name).strip(WHITE_SPACE)
    scheme = SCHEME.match(text[:20])
    if scheme and scheme[1].lower() in (b"http", b"https"):
        return Address(_address(text, name), name)
    if scheme and scheme[1].lower() != b"data":
        raise unreadable(name, f"addresses of the kind {scheme[1].decode()}: are not fetched")
    return _decoded(unescaped(text, name), name, max_bytes)


def unreadable(name: str, why: str) -> RequestError:
    return RequestError(
        f"{name} holds no image: {why}",
        fix="send a file in a form, or a data URL or base64 in JSON",
        param=name,
        code="image_unreadable",
    )


def _unwrapped(value: Any, name: str) -> bytes | str | LongText:
    """Without the lists and objects around it."""
    for _ in range(DEEPEST):
        if isinstance(value, list):
            if len(value) != 1 or isinstance(value[0], int):
                raise unreadable(name, f"it is a list of {len(value)}, and one image is read")
            value = value[0]
        elif isinstance(value, dict):
            found = [each for key, each in value.items() if key in INNER and each is not None]
            if len(found) != 1:
                why = f"{len(found)} images are in it" if found else "only image_url is read"
                raise unreadable(name, why if value else "it is empty")
            value = found[0]
        else:
            break
    if not isinstance(value, bytes | str | LongText):
        raise unreadable(name, f"it is a {type(value).__name__}")
    return value


def _text(value: str | LongText, name: str) -> bytes:
    if isinstance(value, LongText) and not value.is_json:
        return value.raw
    try:
        if isinstance(value, str):
            return value.encode("ascii")
        if b"\\" not in value.raw:
            return value.raw
        text: str = json.loads(b'"' + value.raw + b'"', strict=False)
        return text.encode("ascii")
    except ValueError:
        raise unreadable(name, "it is not base64") from None


def _address(text: bytes, name: str) -> str:
    if len(text) > 8192 or not text.isascii():
        raise unreadable(name, "its address is longer than 8192 characters, or not plain")
    return text.decode()


def unescaped(text: bytes, name: str) -> bytes:
    """Percent-encoding undone."""
    if b"%" not in text:
        return text
    for escape, meant in USUAL_ESCAPES.items():
        text = text.replace(escape, meant).replace(escape.lower(), meant)
    if text.count(b"%") > MOST_ESCAPES:
        raise unreadable(name, "it is not base64")
    return ESCAPE.sub(lambda found: bytes.fromhex(found[1].decode()), text)


def _decoded(text: bytes, name: str, max_bytes: int) -> bytes:
    head = DATA_URL.match(text[:400])
    if head is not None:
        is_base64 = re.search(rb"(^|;)\s*base64\s*$", head[2], re.IGNORECASE)
        if not is_base64:
            raise unreadable(name, "this data URL is not base64")
        text = text[head.end() :]
    plain = text.translate(URL_SAFE, WHITE_SPACE).rstrip(b"=")
    if len(plain) * 3 // 4 > max_bytes:
        raise images.too_large(max_bytes)
    try:
        return base64.b64decode(plain + b"=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise unreadable(name, "it is not base64") from None
