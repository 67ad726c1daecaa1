"""The body of a request for a video, for /openapi.json: made from the table of parameters."""

from __future__ import annotations

from typing import Any

from services.front import webhook_messages
from services.parameters import families

_OWN: dict[str, Any] = {
    "model": {"type": "string", "description": "The model that runs here; may be left out."},
    "user": {"type": "string", "description": "Whose it is: users take turns."},
    "priority": {"type": "integer", "minimum": -100, "maximum": 100, "default": 0},
}
_TELLS: dict[str, Any] = {
    "webhook_url": {"type": "string", "format": "uri", "description": "Who is told when it has ended."},
    "webhook_events": {
        "type": "array",
        "items": {"enum": [*webhook_messages.EVENTS]},
        "description": "What webhook_url is told; else that it has ended.",
    },
}
_IN_FORM = {"type": "string", "format": "binary", "description": "The photo: JPEG, PNG, WebP or AVIF."}
_IN_JSON = {"type": "string", "description": "The photo as a data URL or base64."}


def request_body() -> dict[str, Any]:
    """``openapi_extra`` of a route that reads ``services.front.openai.body``."""
    fields = families.schemas()
    content = {
        "multipart/form-data": {**fields, **_OWN, **_TELLS, "input_reference": _IN_FORM},
        "application/json": {**fields, **_OWN, **_TELLS, "input_reference": _IN_JSON},
    }
    return {
        "requestBody": {
            "required": True,
            "content": {
                kind: {"schema": {"type": "object", "additionalProperties": False, "properties": properties}}
                for kind, properties in content.items()
            },
        }
    }
