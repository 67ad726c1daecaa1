"""One request without a body, and where its answer points to."""

from __future__ import annotations

import re
from urllib.parse import urljoin, urlsplit

from bootstrap.fetch import errors
from bootstrap.fetch.http.connection import Connection
from bootstrap.fetch.http.head import Head
from bootstrap.fetch.http.origin import Origin, target_of

ANSWER_SECONDS = 15.0
MAX_REDIRECTS = 5
REDIRECTS = (301, 302, 303, 307, 308)
NO_HEAD = (400, 403, 405, 501)  # of an address that is signed for GET alone: the first range will show it


def ask(method: str, url: str, headers: dict[str, str]) -> Head:
    """One request; its body is not read. TryAgain or KitError when the network fails."""
    connection = Connection(Origin.of(url))
    try:
        return connection.request(method, target_of(url), headers, seconds=ANSWER_SECONDS)
    except OSError as error:
        raise errors.of_network(error, connection) from error
    finally:
        connection.close()


def pointed_to(head: Head, url: str) -> str | None:
    """The address that a redirect names, which may be relative to ``url``; None for any other answer."""
    location = head.headers.get("location")
    if head.status not in REDIRECTS or not location:
        return None
    there = urljoin(url, location.encode("latin-1").decode("utf-8", "replace"))
    if Origin.of(there).scheme not in ("http", "https"):
        raise errors.MirrorError(
            f"{Origin.of(url)} redirects to an address of kind {Origin.of(there).scheme!r}",
            fix="check the source in the manifest, or HF_ENDPOINT",
        )
    if re.search(r"/(login|log-in|signin|sign-in)/?$", urlsplit(there).path):
        raise errors.signs_in(Origin.of(url))
    return there


def length(head: Head) -> int | None:
    """The file's length; a compressed answer's length is another one."""
    if head.headers.get("content-encoding", "identity").lower() not in ("", "identity"):
        return None
    return head.number("content-length")
