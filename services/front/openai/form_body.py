"""A body as a form: its image may be long, everything else is little."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_plus

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from services.front import refusals
from services.front.openai import image_field, json_body
from services.front.openai.image_field import LongText
from services.parameters import RequestError

MAX_FIELDS = 100
HEAD_BYTES = 8192  # of one part
OBJECT_BYTES = 2 * json_body.LONG_BYTES  # around an image
BRACKETS = re.compile(r"\[([^\[\]]*)\]")


@dataclass
class _Part:
    head: bytearray = field(default_factory=bytearray)  # the name of the header that is being read
    headers: dict[str, bytearray] = field(default_factory=dict)
    data: bytearray = field(default_factory=bytearray)


def multipart(body: bytes | bytearray, content_type: str, *, max_text_bytes: int) -> dict[str, Any]:
    """Files are bytes, other parts text. Raises ``ApiError`` or ``RequestError``."""
    given: dict[str, Any] = {}
    left = max_text_bytes
    for part in _parts(body, content_type):
        name, value = _named(part)
        if not _is_image(name):
            left -= len(part.data)
            if left < 0:
                raise refusals.text_too_large(max_text_bytes)
        if value is not None:
            _put(given, name, value)
    return given


def urlencoded(body: bytes | bytearray, *, max_text_bytes: int) -> dict[str, Any]:
    """Raises ``ApiError`` or ``RequestError``."""
    if body.count(b"&") > MAX_FIELDS:
        raise invalid(f"more than {MAX_FIELDS} fields")
    given: dict[str, Any] = {}
    left = max_text_bytes
    for pair in bytes(body).split(b"&"):
        raw_name, _, raw = pair.partition(b"=")
        name = unquote_plus(raw_name[:HEAD_BYTES].decode("utf-8", "replace"))
        left -= len(raw_name) + (0 if _is_image(name) else len(raw))
        if left < 0:
            raise refusals.text_too_large(max_text_bytes)
        if pair:
            value = _image(name, raw) if _is_image(name) else _words(name, raw)
            _put(given, name, value)
    return given


def invalid(why: str) -> RequestError:
    return RequestError(
        f"the form cannot be read: {why}", fix="let a library write it", param=None, code="invalid_form"
    )


def _image(name: str, raw: bytes) -> Any:
    if raw[:3].lower() == b"%7b" or raw[:1] == b"{":
        return _structured(name, image_field.unescaped(raw.replace(b"+", b" "), name))
    return LongText(raw) if raw else ""  # its plus signs stay: base64 has no spaces


def _words(name: str, raw: bytes) -> str:
    try:
        return unquote_plus(raw.decode(), errors="strict")
    except ValueError:
        raise no_text(name) from None


def no_text(name: str) -> RequestError:
    return RequestError(
        f"{name[:60]} is no text in UTF-8", fix="send it in UTF-8", param=name[:60], code="invalid_form"
    )


def _is_image(name: str) -> bool:
    return name.partition("[")[0] in image_field.NAMES


def _parts(body: bytes | bytearray, content_type: str) -> list[_Part]:
    _, options = parse_options_header(content_type)
    if not (boundary := options.get(b"boundary")):
        raise invalid("its Content-Type names no boundary")
    parts: list[_Part] = []

    def begin() -> None:
        if len(parts) >= MAX_FIELDS:
            raise invalid(f"more than {MAX_FIELDS} parts")
        parts.append(_Part())

    def header_name(data: bytes, start: int, end: int) -> None:
        parts[-1].head += data[start:end]
        _bound(parts[-1])

    def header_value(data: bytes, start: int, end: int) -> None:
        name = parts[-1].head.decode("latin-1").lower()
        parts[-1].headers.setdefault(name, bytearray()).extend(data[start:end])
        _bound(parts[-1])

    def content(data: bytes, start: int, end: int) -> None:
        parts[-1].data += memoryview(data)[start:end]

    parser = MultipartParser(
        boundary,
        {
            "on_part_begin": begin,
            "on_header_field": header_name,
            "on_header_value": header_value,
            "on_header_end": lambda: parts[-1].head.clear(),
            "on_part_data": content,
        },
    )
    try:
        parser.write(bytes(body))
        parser.finalize()
    except MultipartParseError as error:
        raise invalid(str(error)) from None
    return parts


def _bound(part: _Part) -> None:
    if len(part.head) + sum(map(len, part.headers.values())) > HEAD_BYTES:
        raise invalid(f"the head of a part has more than {HEAD_BYTES} bytes")


def _named(part: _Part) -> tuple[str, Any]:
    """The part's name and value; None where a browser's file field was left empty."""
    _, about = parse_options_header(bytes(part.headers.get("content-disposition", b"")))
    name = about.get(b"name", b"").decode("utf-8", "replace")
    if not name:
        raise invalid("a part has no name")
    kind, options = parse_options_header(bytes(part.headers.get("content-type", b"")))
    data = bytes(part.data)
    if not data and b"filename" in about and not about[b"filename"]:
        return name, None
    if part.headers.get("content-transfer-encoding", b"").strip().lower() == b"base64":
        return name, LongText(data)
    is_file = b"filename" in about or kind.startswith(b"image/") or kind == b"application/octet-stream"
    if is_file or (_is_image(name) and not data.isascii()):
        return name, data
    if _is_image(name):
        return name, _structured(name, data) if data else ""
    return name, _decoded(name, data, options)


def _decoded(name: str, data: bytes, options: Mapping[bytes, bytes]) -> str:
    try:
        return data.decode(options.get(b"charset", b"utf-8").decode("ascii"))
    except (ValueError, LookupError):
        raise no_text(name) from None


def _structured(name: str, data: bytes) -> Any:
    """Clients write objects in forms as JSON; anything else stays the text that it is."""
    if data[:1] != b"{":
        return LongText(data)
    try:
        return json_body.parse(data, max_text_bytes=OBJECT_BYTES)
    except RequestError:
        raise image_field.unreadable(name, "it is no JSON") from None


def _put(given: dict[str, Any], name: str, value: Any) -> None:
    """``a[b]=1`` becomes ``{"a": {"b": 1}}``, ``a[]=1`` a list; what is given twice is a mistake."""
    base, inner = name.partition("[")[0], BRACKETS.findall(name)
    if not inner:
        if name in given:
            raise RequestError(
                f"{name[:60]} is given twice", fix="give it once", param=name[:60], code="duplicate_field"
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
