"""What each route needs: one table. What stands nowhere in it is for the admin."""

from __future__ import annotations

import re

from services.front.door.caller import Need

READ, CHANGE = ("GET", "HEAD"), ("POST", "PUT", "PATCH", "DELETE")
EVERY = READ + CHANGE

# The first that fits counts.
TABLE: tuple[tuple[tuple[str, ...], str, Need], ...] = (
    (READ, r"/(favicon\.ico)?", "read"),
    (READ, r"/status", "read"),
    (READ, r"/metrics", "read"),
    (READ, r"/metrics", "read"),
    (READ, r"/openapi\.json", "read"),
    (("POST",), r"/stay", "make"),
    (READ, r"/studio(/.*)?", "read"),
    (CHANGE, r"/studio/.*", "make"),  # photos for the form
    (READ, r"/v1/videos(/.*)?", "read"),
    (CHANGE, r"/v1/videos(/.*)?", "make"),
    (READ, r"/v1/models(/[^/]*)?", "read"),
    (READ, r"/v1/usage", "read"),
    (EVERY, r"/v1/batches(/.*)?", "make"),
    (EVERY, r"/v1/files(/.*)?", "make"),
)

# A browser fetches these by itself and can send no header: the cookie is enough. None of them lists or
# changes anything, and the ids of clips are as hard to guess as a token.
BY_COOKIE_ALONE = re.compile(r"/(favicon\.ico)?|/studio(/.*)?|/v1/videos/[^/]+/content")


def need(method: str, path: str) -> Need:
    for methods, pattern, needed in TABLE:
        if method in methods and re.fullmatch(pattern, path):
            return needed
    return "admin"


def opens_by_cookie(method: str, path: str) -> bool:
    return method in READ and BY_COOKIE_ALONE.fullmatch(path) is not None
