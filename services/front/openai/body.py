"""The body of a request to make a video: JSON or a form, sorted into what is asked and the image."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import Any

from fastapi import Request

from services import parameters
from services.front import refusals
from services.front.creation import limits
from services.front.creation.limits import NONE, Limits
from services.front.creation.remote_image import Address
from services.front.creation.uploads import Room
from services.front.openai import form_body, image_field, json_body
from services.front.openai.image_field import LongText
from services.front.results import destination
from services.front.results.destination import HERE, Destination
from services.front.settings import MIB
from services.parameters import RequestError

OWN_FIELDS = (
    "model",
    "user",
    "priority",
    *image_field.NAMES,
    *destination.FIELDS,
    *limits.FIELDS,
)  # beside the parameter table
TEXT_BYTES = MIB  # everything but the image
MAX_USER_LENGTH = 100
PRIORITIES = range(-100, 101)
WHOLE_NUMBER = re.compile(r"\s*[+-]?[0-9]{1,9}\s*")


@dataclass(frozen=True)
class Body:
    """What was sent, sorted; nothing is checked against the model yet."""

    fields: dict[str, Any]  # for the parameter table
    model: str | None = None
    user: str = ""
    priority: int = 0
    image: bytes | Address | None = None
    destination: Destination = HERE
    limits: Limits = NONE


async def read(request: Request, room: Room, *, max_image_bytes: int) -> Body:
    """Raises ``ApiError`` or ``RequestError``. A body that is too large is refused before it is all there."""
    content_type = request.headers.get("content-type", "")
    kind = content_type.partition(";")[0].strip().lower()
    is_json = kind in ("application/json", "text/json", "") or re.fullmatch(
        r"application/[\w.-]+\+json", kind
    )
    if not is_json and kind not in ("multipart/form-data", "application/x-www-form-urlencoded"):
        raise refusals.unread_type(kind)
    # base64 takes four bytes for three, and its percent-encoding some more
    body = await room.read(request, max_image_bytes * 4 // 3 * 105 // 100 + TEXT_BYTES)
    parse = partial(_parse, body, "" if is_json else content_type, max_image_bytes)
    return await room.uploads.parse(parse, len(body))


def _parse(body: bytearray, form: str, max_image_bytes: int) -> Body:
    """``form``: the Content-Type of a form, empty for JSON."""
    if form.lower().startswith("multipart/"):
        given = form_body.multipart(body, form, max_text_bytes=TEXT_BYTES)
    elif form and body[:1] != b"{":
        given = form_body.urlencoded(body, max_text_bytes=TEXT_BYTES)
    else:  # curl calls everything a form
        given = json_body.parse(body, max_text_bytes=TEXT_BYTES)
    return sort(given, max_image_bytes)


def sort(given: dict[str, Any], max_image_bytes: int) -> Body:
    fields = {name: value for name, value in given.items() if name not in OWN_FIELDS}
    for name, value in given.items():
        if isinstance(value, LongText) and name not in image_field.NAMES:
            raise RequestError(
                f"{name[:60]} has {len(value.raw)} bytes", fix="send a short text", param=name[:60]
            )
    found = [name for name in image_field.NAMES if not image_field.is_absent(given.get(name))]
    if len(found) > 1:
        raise RequestError(f"there are two images: {found[0]} and {found[1]}", fix="give one", param=found[1])
    image = image_field.read(given[found[0]], found[0], max_image_bytes) if found else None
    goes_to = destination.read(given)
    model, user = _text(given, "model"), _text(given, "user") or ""
    return Body(fields, model, user, _priority(given), image, goes_to, limits.read(given))


def _text(given: dict[str, Any], name: str) -> str | None:
    value = given.get(name)
    if value in (None, ""):
        return None
    is_short = isinstance(value, str) and len(value) <= MAX_USER_LENGTH and not re.search(r"[\t\r\n]", value)
    if not is_short or not parameters.is_plain(value):
        raise RequestError(
            f"{name} is no short text", fix=f"a text of at most {MAX_USER_LENGTH} characters", param=name
        )
    return str(value)


def _priority(given: dict[str, Any]) -> int:
    value = given.get("priority")
    if value in (None, ""):
        return 0
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(value, str) and WHOLE_NUMBER.fullmatch(value):
        value, is_number = int(value), True
    if not is_number or value not in PRIORITIES:  # 1.0 is in it, 1.7 and infinity are not
        raise RequestError(
            f"priority {str(value)[:60]!r} is no whole number from -100 to 100",
            fix="leave it out, or give 0",
            param="priority",
        )
    return int(value)
