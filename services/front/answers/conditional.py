"""Answers that a client has already: ``ETag`` with ``If-None-Match``, and ``If-Modified-Since``."""

from __future__ import annotations

from datetime import datetime
from email.utils import parsedate_to_datetime

from fastapi import Request, Response
from starlette.datastructures import Headers

# A client that asks with a tag counts down itself. A browser's cache would show the old estimate.
CACHE_CONTROL = "no-store"


def json(request: Request, body: str | bytes, *, tag: str, headers: dict[str, str] | None = None) -> Response:
    """A document, or 304 when the client has the one with this tag."""
    own = f'W/"{tag}"'  # weak: what counts down in it is no change
    sent = {"etag": own, "cache-control": CACHE_CONTROL, **(headers or {})}
    if names(request.headers.get("if-none-match", ""), own):
        return Response(status_code=304, headers=sent)
    return Response(body, media_type="application/json", headers=sent)


def is_known(asked: Headers, *, etag: str, modified: str) -> bool:
    """Whether a client that asks so has this version. A tag decides alone (RFC 9110, 13.2.2)."""
    if "if-none-match" in asked:
        return names(asked["if-none-match"], etag)
    since, last = _date(asked.get("if-modified-since")), _date(modified)
    return since is not None and last is not None and last <= since


def names(tags: str, own: str) -> bool:
    """Whether one of the header's tags is this one, weak or not."""
    own = own.removeprefix("W/")
    return any(tag.strip().removeprefix("W/") in (own, "*") for tag in tags.split(","))


def _date(text: str | None) -> datetime | None:
    """None for what is no date of HTTP: it is ignored."""
    try:
        found = parsedate_to_datetime(text or "")
    except ValueError:
        return None
    return found if found.tzinfo is not None else None
