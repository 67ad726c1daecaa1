"""Where a file's bytes are, as the hub, a mirror or a redirect says it."""

from __future__ import annotations

import email.utils
import time
from dataclasses import dataclass, replace
from typing import Protocol
from urllib.parse import parse_qs, urlsplit

from bootstrap.choose.manifest import File
from bootstrap.fetch.http.origin import Origin

SIGNED = frozenset({"signature", "sig", "policy", "key-pair-id", "expires"})


@dataclass(frozen=True)
class Located:
    """An address to get ranges from, and what the server announced about the content."""

    url: str
    authorization: str | None  # the header, only where its own host sends the bytes
    bytes: int | None
    sha256: str | None
    git_oid: str | None
    good_until: float | None  # monotonic seconds; None: no end is known
    was_moved: bool = False  # storage pointed here: what does not answer is asked for again

    @property
    def origin(self) -> Origin:
        return Origin.of(self.url)

    def moved(self, url: str, date: str | None) -> Located:
        """The same content at the address of a redirect; no token goes to another host."""
        authorization = self.authorization if may_follow(self.origin, url) else None
        return replace(
            self, url=url, authorization=authorization, good_until=good_until(url, date), was_moved=True
        )


class Mirror(Protocol):
    """One place that has a source's files: the hub itself, a mirror of it, or an https folder."""

    name: str
    takes_key: bool  # whether a key of its host opens what it refuses

    def locate(self, file: File) -> Located:
        """Ask for the file's address; KitError when that cannot succeed, TryAgain when it may."""
        ...


def may_follow(owner: Origin, url: str) -> bool:
    """Whether the token of ``owner`` may go to the address of a redirect: on the same server, and unsigned.

    A signature opens by itself, and storage refuses a request that has both.
    """
    names = {name.lower() for name in parse_qs(urlsplit(url).query, keep_blank_values=True)}
    is_signed = any(name in SIGNED or name.startswith(("x-amz-", "x-goog-")) for name in names)
    return Origin.of(url).may_have_token_of(owner) and not is_signed


def good_until(url: str, date: str | None) -> float | None:
    """When to ask again: at 80 % of a signature's life, counted from now, so that no clock must be right."""
    query = {name.lower(): values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    life: float | None = None
    if query.get("x-amz-expires", "").isdigit():
        life = float(query["x-amz-expires"])
    elif query.get("expires", "").isdigit() and date:
        try:
            life = float(query["expires"]) - email.utils.parsedate_to_datetime(date).timestamp()
        except (ValueError, TypeError):
            life = None
    return None if life is None else time.monotonic() + 0.8 * max(life, 0.0)
