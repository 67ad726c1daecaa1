"""What /openapi.json says of the videos' routes: bodies made from the table of parameters, files, events."""

from __future__ import annotations

from typing import Any

from services.front import described
from services.front.creation import limits
from services.front.creation.once import REPLAYED
from services.front.openai.schemas import EXAMPLE
from services.front.results import webhook_messages
from services.parameters import families

_OWN: dict[str, Any] = {
    "model": {"type": "string", "description": "The model that runs here; may be left out."},
    "user": {"type": "string", "maxLength": 100, "description": "Whose it is: users take turns."},
    "priority": {"type": "integer", "minimum": -100, "maximum": 100, "default": 0},
    **limits.SCHEMAS,
}
_TELLS: dict[str, Any] = {
    "webhook_url": {"type": "string", "format": "uri", "description": "Who is told when it has ended."},
    "results_prefix": {"type": "string", "description": "Folders before the name of the clip's copy."},
    "webhook_events": {
        "type": "array",
        "items": {"enum": [*webhook_messages.EVENTS]},
        "description": "What webhook_url is told; else that it has ended.",
    },
}
_IN_FORM = {"type": "string", "format": "binary", "description": "The photo: JPEG, PNG, WebP, AVIF or HEIC."}
_IN_JSON = {
    "description": 'The photo as a data URL, base64 or its https address, also as {"image_url": …}.',
    "anyOf": [{"type": "string"}, {"type": "object"}],
}
_EXAMPLE = {"prompt": "a paper boat on a pond", "num_frames": 17, "seed": 7}
_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "The same key makes the same video once, for 24 hours.",
    "schema": {"type": "string", "maxLength": 255},
}
_MP4 = {"video/mp4": described.BINARY}
_REPLAY = {
    REPLAYED: {"description": "The same request was answered before.", "schema": {"enum": ["true"]}},
}
_POLL = {
    "openai-poll-after-ms": {
        "description": "When to ask again; absent once it is finished.",
        "schema": {"type": "integer"},
    }
}
_STREAM = """event: video
data: {"id": "video_0", "object": "video", "status": "in_progress", "progress": 40}

event: done
data: {"id": "video_0", "object": "video", "status": "completed", "progress": 100}

"""

_EVENT: dict[str, Any] = {
    "type": "object",
    "description": "Of each event.",
    "required": ["event", "data"],
    "properties": {
        "event": {"enum": ["video", "done", "deleted"]},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
}

Responses = dict[int | str, dict[str, Any]]

VIDEO: Responses = {
    200: {
        "description": "The video.",
        "headers": _POLL,
        "content": {"application/json": {"example": EXAMPLE}},
    }
}
UNCHANGED: Responses = {304: {"description": "The client has it already, by If-None-Match."}}
MADE: Responses = {
    200: VIDEO[200] | {"headers": _POLL | _REPLAY},
    **described.errors(400, 404, 408, 409, 410, 413, 415, 507),
}
WAITED: Responses = {
    200: {"description": "The clip.", "headers": _REPLAY, "content": _MP4},
    **described.errors(400, 404, 408, 409, 413, 415, 504, 507),
}
BATCHED: Responses = {
    200: {"description": "The batch.", "headers": _REPLAY},
    **described.errors(400, 404, 408, 409, 413, 415, 507),
}
FILE: Responses = {
    200: {
        "description": "The clip, or a picture.",
        "content": dict.fromkeys(("video/mp4", "image/*"), described.BINARY),
    },
    206: {"description": "The range that was asked for.", "content": _MP4},
    304: {"description": "The client has it already, by If-None-Match or If-Modified-Since."},
    **described.errors(400, 404, 409, 410, 416),
}
LINKED: Responses = {
    200: {"description": "The clip.", "content": _MP4},
    206: FILE[206],
    304: FILE[304],
    **described.errors(400, 403, 404, 410, 416, 500, 503),
}
EVENTS: Responses = {
    200: {
        "description": (
            "`video` at each change, `done` with the last one, `deleted` when it was deleted; each but the "
            "last holds a Video as JSON."
        ),
        "content": {"text/event-stream": {"schema": _EVENT, "example": _STREAM}},
    },
    204: {"description": "The client has the end already, by Last-Event-ID: an EventSource comes no more."},
    **described.errors(404),
}


def request_body() -> dict[str, Any]:
    """``openapi_extra`` of a route that reads ``services.front.openai.body``."""
    fields = families.schemas()
    content = {
        "application/json": {**fields, **_OWN, **_TELLS, "input_reference": _IN_JSON},
        "multipart/form-data": {**fields, **_OWN, **_TELLS, "input_reference": _IN_FORM},
    }
    return body(content, _EXAMPLE)


def batch_body() -> dict[str, Any]:
    """``openapi_extra`` of the route that takes many requests."""
    one = {"type": "object", "description": "As the body of POST /v1/videos."}
    requests = {"type": "array", "minItems": 1, "maxItems": 1000, "items": one}
    example = {"requests": [_EXAMPLE, _EXAMPLE | {"prompt": "a paper boat in the rain"}]}
    found = body({"application/json": {"requests": requests}}, example, "requests")
    lines = "One request a line: its body, or a line of OpenAI's batch files."
    found["requestBody"]["content"]["application/jsonl"] = {
        "schema": {"type": "string", "description": lines}
    }
    return found


def source_body(*required: str, extra: tuple[str, ...] = ()) -> dict[str, Any]:
    """``openapi_extra`` of a route that starts from a video; ``extra``: fields beside the parameters."""
    about = {"type": "number", "minimum": 0, "maximum": 3600, "default": 0}
    fields = {**families.schemas(), **_OWN, **_TELLS, **dict.fromkeys(extra, about)}
    by_id = {
        "type": "object",
        "required": ["id"],
        "properties": {"id": {"type": "string", "maxLength": 64, "minLength": 1}},
        "description": "A completed video of this service.",
    }
    content = {
        "application/json": {**fields, "video": by_id},
        "multipart/form-data": {**fields, "video": described.BINARY["schema"]},
    }
    example = {"prompt": "it begins to rain", "seconds": 2, "video": {"id": "video_0"}}
    return body(content, example, *required)


def body(content: dict[str, dict[str, Any]], example: dict[str, Any], *required: str) -> dict[str, Any]:
    """``content``: the fields, by the body's type; of JSON there is an example."""
    return {
        "parameters": [_KEY],
        "requestBody": {
            "required": True,
            "content": {
                kind: {
                    "schema": {
                        "type": "object",
                        "additionalProperties": False,
                        "properties": properties,
                        **({"required": list(required)} if required else {}),
                    },
                    **({"example": example} if kind == "application/json" else {}),
                }
                for kind, properties in content.items()
            },
        },
    }
