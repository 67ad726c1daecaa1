"""Addresses that may hold a password or a key: how they are shown, and who gets them."""

from __future__ import annotations

import base64
import re
from urllib.parse import unquote, urlsplit, urlunsplit

_QUERY = re.compile(r"(https?://[^\s?#'\"<>]*)\?[^\s'\"<>]*")
_LOGIN = re.compile(r"\b([a-z][a-z0-9+.-]*://)[^\s/?#'\"<>]*@")


def shown(text: str) -> str:
    """A text, and every address in it without its query and without the user before its host.

    >>> shown("see https://me:pass@host/x?token=abc")
    'see https://host/x?…'
    """
    return without_queries(_LOGIN.sub(r"\1", text))


def without_queries(text: str) -> str:
    """A text, and every address in it without its query."""
    return _QUERY.sub(r"\1?…", text)


def host(text: str) -> str:
    """The host of an address or of ``host:port``, in small letters; the port stays where one is written."""
    return urlsplit(text if "://" in text else f"//{text}").netloc.rpartition("@")[2].strip().lower()


def without_login(url: str) -> tuple[str, str | None]:
    """The address without the user before its host, and the ``Authorization`` that shows this user."""
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    if not at:
        return url, None
    pair = base64.b64encode(unquote(user).encode()).decode()
    return urlunsplit(parts._replace(netloc=host)), f"Basic {pair}"
