"""What /openapi.json says beyond what FastAPI finds out: who may ask, every error with its body, examples.

A route names its own errors: ``responses=described.errors(404, 409)``. Those that any route may answer are
added here.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}

_ERROR: dict[str, Any] = {
    "type": "object",
    "description": "Every error of this API.",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code", "fix", "request_id"],
            "properties": {
                "message": {"type": "string", "description": "What is wrong."},
                "type": {
                    "type": "string",
                    "enum": [
                        "invalid_request_error",
                        "authentication_error",
                        "permission_error",
                        "rate_limit_error",
                        "server_error",
                    ],
                },
                "param": {"type": ["string", "null"], "description": "The field that is meant."},
                "code": {"type": "string", "description": "For programs; docs/api.md lists them."},
                "fix": {"type": "string", "description": "What to do next."},
                "errors": {
                    "type": "array",
                    "items": {"type": "object"},
                    "description": "Of a batch: index, message, param, code and fix of each wrong request.",
                },
                "request_id": {"type": ["string", "null"], "description": "As in X-Request-Id."},
            },
        }
    },
}
# status: what it means, and an example's type, param, code, message and fix
_MEANINGS: dict[int, tuple[str, str, str | None, str, str, str]] = {
    400: (
        "The request cannot be carried out as it was asked.",
        "invalid_request_error", "size", "invalid_value",
        "size 831x480: 831 is no multiple of 16", "ask for 832x480",
    ),
    401: (
        "No token, or a wrong one.",
        "authentication_error", None, "invalid_token",
        "a token is needed", "send `Authorization: Bearer TOKEN`",
    ),
    403: (
        "This token may not do this, or a page of another site asks.",
        "permission_error", None, "cross_site",
        "a page of another site asked for this", "ask from the studio, or from a program",
    ),
    404: (
        "There is no such thing, or no longer.",
        "invalid_request_error", "video_id", "not_found",
        "there is no video 'video_0'", "list them with GET /v1/videos; it may have been deleted",
    ),
    408: (
        "The body came too slowly.",
        "invalid_request_error", None, "body_too_slow",
        "the body stopped for 20 s, or takes too long", "send it again over a faster line",
    ),
    409: (
        "It does not fit the state that things are in.",
        "invalid_request_error", None, "not_finished",
        "video video_0 is not finished: in_progress, 40 %", "ask again when its status is completed",
    ),
    410: (
        "It was there, and is not any more.",
        "invalid_request_error", None, "link_ended",
        "this link has ended", "ask for a new one",
    ),
    413: (
        "The body is too large.",
        "invalid_request_error", "input_reference", "body_too_large",
        "the body is larger than 34 MiB", "make the image smaller",
    ),
    415: (
        "The body is of a kind that is not read.",
        "invalid_request_error", None, "unsupported_media_type",
        "a body of type text/plain is not read", "send application/json or multipart/form-data",
    ),
    416: (
        "The range is not in the file.",
        "invalid_request_error", None, "invalid_range",
        "the range 'bytes=9-' is not in a file of 5 bytes", "ask for bytes=0-4",
    ),
    429: (
        "Too much at once: the queue is full, or there were too many requests. Retry-After says when.",
        "rate_limit_error", None, "queue_full",
        "100 videos are waiting, which is as many as may", "try again in 30 s, or cancel some",
    ),
    500: (
        "A bug of the kit, with its number in the log; or, to who waited for it, a video that failed.",
        "server_error", None, "internal",
        "something broke in the kit (bug_0)", "look for bug_0 in front.log",
    ),
    501: (
        "The model that runs here cannot do this.",
        "server_error", None, "not_offered",
        "characters are not offered by this model", "make a new video",
    ),
    503: (
        "Not now: the model is not there yet, the start failed, or the database is away.",
        "server_error", None, "not_ready",
        "the model is not there yet (state: loading)", "try again in a while; GET /readyz says when",
    ),
    504: (
        "It is not finished, and no answer may take longer; the video goes on.",
        "server_error", None, "still_running",
        "video video_0 is not finished", "ask GET /v1/videos/video_0",
    ),
    507: (
        "The disk is full.",
        "server_error", None, "disk_full",
        "the disk is full", "delete videos you do not need, then try again",
    ),
}  # fmt: skip
_ANYWHERE = (401, 403, 429, 500, 503)  # of every route that asks for a token
_REQUEST_ID = {"description": "This request's name, in the log as well.", "schema": {"type": "string"}}
_RETRY_AFTER = {"description": "Seconds.", "schema": {"type": "integer", "minimum": 0}}


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For a route's ``responses``."""
    return {status: {"description": _MEANINGS[status][0]} for status in statuses}


def install(app: FastAPI, *, open_paths: Collection[str]) -> None:
    """``open_paths``: routes, as they are written in the document, that need no token."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _complete(
                get_openapi(title=app.title, version=app.version, routes=app.routes), open_paths
            )
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def _complete(document: dict[str, Any], open_paths: Collection[str]) -> dict[str, Any]:
    parts = document.setdefault("components", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        parts.get("schemas", {}).pop(unused, None)
    parts.setdefault("schemas", {})["Error"] = _ERROR
    parts["headers"] = {"X-Request-Id": _REQUEST_ID, "Retry-After": _RETRY_AFTER}
    parts["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer", "description": "The token that the start prints."}
    }
    document["security"] = [{"bearer": []}]
    for path, methods in document["paths"].items():
        for operation in methods.values():
            _complete_operation(operation, is_open=path in open_paths)
    return document


def _complete_operation(operation: dict[str, Any], *, is_open: bool) -> None:
    responses: dict[str, Any] = operation["responses"]
    # FastAPI's own 422: here a wrong value is a 400
    takes_values = responses.pop("422", None) is not None
    if is_open:
        operation["security"] = []
    for status in (*((400,) if takes_values else ()), *(() if is_open else _ANYWHERE)):
        responses.setdefault(str(status), {"description": _MEANINGS[status][0]})
    for name, response in responses.items():
        headers = response.setdefault("headers", {})
        headers["X-Request-Id"] = {"$ref": "#/components/headers/X-Request-Id"}
        if name in ("429", "503"):
            headers["Retry-After"] = {"$ref": "#/components/headers/Retry-After"}
        if int(name) >= 400 and "content" not in response:
            response["content"] = {"application/json": _body(int(name))}


def _body(status: int) -> dict[str, Any]:
    _, kind, param, code, message, fix = _MEANINGS[status]
    error = {
        "message": message, "type": kind, "param": param, "code": code, "fix": fix, "request_id": "req_0",
    }  # fmt: skip
    return {"schema": {"$ref": "#/components/schemas/Error"}, "example": {"error": error}}
