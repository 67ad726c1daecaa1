"""The body of a request to make a video: JSON or a form, the image as a file, a data URL or base64."""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.types import Message

from services import parameters
from services.front import destination, refusals
from services.front.destination import HERE, Destination
from services.front.settings import MIB
from services.parameters import RequestError, images

IMAGE_FIELDS = ("input_reference", "image_reference")
OWN_FIELDS = ("model", "user", "priority", *IMAGE_FIELDS, *destination.FIELDS)  # beside the parameter table
TEXT_BYTES = MIB  # everything but the image
MAX_FIELDS = 100
MAX_USER_LENGTH = 100
PRIORITIES = range(-100, 101)
BRACKETS = re.compile(r"\[([^\[\]]*)\]")


@dataclass(frozen=True)
class Body:
    """What was sent, sorted; nothing is checked against the model yet."""

    fields: dict[str, Any]  # for the parameter table
    model: str | None = None
    user: str = ""
    priority: int = 0
    image: bytes | None = None
    destination: Destination = HERE


async def read(request: Request, *, max_image_bytes: int) -> Body:
    """Raises ``ApiError`` or ``RequestError``. A body that is too large is refused before it is all there."""
    # base64 takes four bytes for three
    limited = _limited(request, max_image_bytes * 4 // 3 + TEXT_BYTES)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in ("multipart/form-data", "application/x-www-form-urlencoded"):
        given = await _form(limited, max_image_bytes)
    elif kind in ("application/json", ""):
        given = await _json(limited)
    else:
        raise refusals.unread_type(kind)
    return _sort(given, max_image_bytes)


def _limited(request: Request, max_bytes: int) -> Request:
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > max_bytes:
        raise refusals.body_too_large(max_bytes / MIB)
    taken = 0

    async def receive() -> Message:
        nonlocal taken
        message = await request.receive()
        taken += len(message.get("body", b""))
        if taken > max_bytes:
            raise refusals.body_too_large(max_bytes / MIB)
        return message

    return Request(request.scope, receive)


async def _json(request: Request) -> dict[str, Any]:
    try:
        given = json.loads(await request.body() or b"{}")
    except (ValueError, RecursionError) as error:
        raise RequestError(
            f"the body is no JSON: {error}", fix="send one JSON object", param=None, code="invalid_json"
        ) from None
    if not isinstance(given, dict):
        raise RequestError("the body is no JSON object", fix="send {...}", param=None, code="invalid_json")
    return given


async def _form(request: Request, max_image_bytes: int) -> dict[str, Any]:
    given: dict[str, Any] = {}
    try:
        form = request.form(
            max_files=4, max_fields=MAX_FIELDS, max_part_size=max_image_bytes * 4 // 3 + TEXT_BYTES
        )
        async with form as parts:
            for name, value in parts.multi_items():
                _put(given, name, await value.read() if isinstance(value, UploadFile) else _structured(value))
    except HTTPException as error:
        raise RequestError(
            f"the form cannot be read: {error.detail}",
            fix="let a library write it",
            param=None,
            code="invalid_form",
        ) from None
    return given


def _structured(text: str) -> Any:
    """Clients write objects in forms as JSON; anything else stays the text that it is."""
    if text[:1] == "{":
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return text
    return text


def _put(given: dict[str, Any], name: str, value: Any) -> None:
    """``a[b]=1`` becomes ``{"a": {"b": 1}}``, ``a[]=1`` a list; what is given twice is a mistake."""
    base, inner = name.partition("[")[0], BRACKETS.findall(name)
    if not inner:
        if name in given:
            raise RequestError(
                f"{name} is given twice", fix="give it once", param=name, code="duplicate_field"
            )
        given[name] = value
    elif inner == [""]:
        given.setdefault(base, [])
        if isinstance(given[base], list):
            given[base].append(value)
    else:
        place = given.setdefault(base, {})
        if isinstance(place, dict):
            place["][".join(inner)] = value


def _sort(given: dict[str, Any], max_image_bytes: int) -> Body:
    fields = {name: value for name, value in given.items() if name not in OWN_FIELDS}
    images_given = [name for name in IMAGE_FIELDS if given.get(name) not in (None, "", b"")]
    if len(images_given) > 1:
        raise RequestError(
            "there are two images: input_reference and image_reference",
            fix="give one",
            param="image_reference",
        )
    if "input_reference" in given and given["input_reference"] == b"":
        raise RequestError(
            "the image is empty: 0 bytes",
            fix="send the file itself",
            param="input_reference",
            code="image_empty",
        )
    image = _image(given[images_given[0]], images_given[0], max_image_bytes) if images_given else None
    goes_to = destination.read(given)
    return Body(fields, _text(given, "model"), _text(given, "user") or "", _priority(given), image, goes_to)


def _text(given: dict[str, Any], name: str) -> str | None:
    value = given.get(name)
    if value in (None, ""):
        return None
    if not isinstance(value, str) or len(value) > MAX_USER_LENGTH or not parameters.is_plain(value):
        raise RequestError(
            f"{name} is no short text", fix=f"a text of at most {MAX_USER_LENGTH} characters", param=name
        )
    return value


def _priority(given: dict[str, Any]) -> int:
    value = given.get("priority") or 0
    try:
        number = int(value)
    except (TypeError, ValueError):
        number = PRIORITIES.stop
    if number not in PRIORITIES:
        raise RequestError(
            f"priority {value!r} is no whole number from -100 to 100",
            fix="leave it out, or give 0",
            param="priority",
        )
    return number


def _image(value: Any, name: str, max_bytes: int) -> bytes:
    """The image's bytes from any of the forms that clients send."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, dict):
        inner = value.get("image_url", value.get("url"))
        if isinstance(inner, dict):
            inner = inner.get("url")
        if not isinstance(inner, str):
            raise _no_image(name, "only image_url is read" if value else "it is empty")
        value = inner
    if not isinstance(value, str):
        raise _no_image(name, f"it is a {type(value).__name__}")
    if value.startswith(("http://", "https://", "file:")):
        raise _no_image(name, "addresses are not fetched")
    if value.startswith("data:"):
        head, _, value = value.partition(",")
        if ";base64" not in head:
            raise _no_image(name, "this data URL is not base64")
    if len(value) * 3 // 4 > max_bytes + 2:
        raise images.too_large(max_bytes)
    try:
        return base64.b64decode("".join(value.split()), validate=True)
    except (binascii.Error, ValueError):
        raise _no_image(name, "it is not base64") from None


def _no_image(name: str, why: str) -> RequestError:
    return RequestError(
        f"{name} holds no image: {why}",
        fix="send a file in a form, or a data URL or base64 in JSON",
        param=name,
        code="image_unreadable",
    )
