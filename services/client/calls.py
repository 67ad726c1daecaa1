"""Each request as a value, which the client of either kind sends."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Image = Path | bytes


@dataclass(frozen=True)
class Call:
    """What httpx is asked for."""

    method: str
    path: str
    given: Mapping[str, Any] = field(default_factory=dict)


def create(parameters: Mapping[str, Any], image: Image | None, key: str | None) -> Call:
    return _make("/v1/videos", parameters, image, key)


def remix(video_id: str, changes: Mapping[str, Any], image: Image | None, key: str | None) -> Call:
    return _make(f"/v1/videos/{video_id}/remix", changes, image, key)


def batch(requests: Sequence[Mapping[str, Any]], key: str | None) -> Call:
    given = {"json": {"requests": [dict(each) for each in requests]}, "headers": _key(key)}
    return Call("POST", "/v1/videos/batch", given)


def retrieve(video_id: str) -> Call:
    return Call("GET", f"/v1/videos/{video_id}")


def retrieve_batch(batch_id: str) -> Call:
    return Call("GET", f"/v1/videos/batch/{batch_id}")


def page(after: str | None, limit: int, order: str) -> Call:
    params = {"limit": limit, "order": order} | ({"after": after} if after else {})
    return Call("GET", "/v1/videos", {"params": params})


def cancel(video_id: str) -> Call:
    return Call("POST", f"/v1/videos/{video_id}/cancel")


def delete(video_id: str) -> Call:
    return Call("DELETE", f"/v1/videos/{video_id}")


def status() -> Call:
    return Call("GET", "/status")


def models() -> Call:
    return Call("GET", "/v1/models")


def content(method: str, video_id: str, variant: str, headers: Mapping[str, str]) -> Call:
    path = f"/v1/videos/{video_id}/content"
    return Call(method, path, {"params": {"variant": variant}, "headers": dict(headers)})


def _make(path: str, fields: Mapping[str, Any], image: Image | None, key: str | None) -> Call:
    """JSON; a form where there is a photo. Always with a key: a repeated request makes nothing twice."""
    present = {name: value for name, value in fields.items() if value is not None}
    if image is None:
        return Call("POST", path, {"json": present, "headers": _key(key)})
    name, data = (image.name, image.read_bytes()) if isinstance(image, Path) else ("image", image)
    form = {field: _text(value) for field, value in present.items()}
    files = {"input_reference": (name, data)}
    return Call("POST", path, {"data": form, "files": files, "headers": _key(key)})


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _key(key: str | None) -> dict[str, str]:
    return {"Idempotency-Key": key or str(uuid.uuid4())}
