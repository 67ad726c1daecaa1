"""Where the result of one job goes, beside the queue: who is told of it, and how its copy is called."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from services.front.results import clip_names, webhook_messages
from services.parameters import RequestError

FIELDS = ("webhook_url", "webhook_events", "results_prefix")
MAX_ADDRESS = 2048


@dataclass(frozen=True)
class Destination:
    """What a request says of it; None and nothing: as this box is set."""

    webhook_url: str | None = None
    webhook_events: tuple[str, ...] = ()
    results_prefix: str | None = None


HERE = Destination()


def read(given: Mapping[str, Any]) -> Destination:
    """From the fields of a body. Raises ``RequestError``."""
    return Destination(
        _address(given.get("webhook_url")),
        _events(given.get("webhook_events")),
        _prefix(given.get("results_prefix")),
    )


def check(destination: Destination, private_hosts: Collection[str]) -> None:
    """Raise ``RequestError`` for what is seen at once to lead into a private network."""
    from services.front import public_hosts  # httpx: only where there are webhooks

    host = urlsplit(destination.webhook_url or "").hostname
    if host and public_hosts.is_surely_private(host, private_hosts):
        raise _wrong(f"{host} is no public host", fix="name a public host; private_hosts may allow others")


def _address(value: Any) -> str | None:
    if value in (None, ""):
        return None
    if (
        not isinstance(value, str)
        or len(value) > MAX_ADDRESS
        or not value.isascii()
        or not value.isprintable()
    ):
        raise _wrong(f"webhook_url is no address of at most {MAX_ADDRESS} characters")
    try:
        parts = urlsplit(value)
        is_whole = bool(parts.scheme in ("http", "https") and parts.hostname and parts.port != 0)
    except ValueError:
        is_whole = False
    if not is_whole or " " in value:
        raise _wrong("webhook_url is no http or https address")
    if "@" in parts.netloc:
        raise _wrong(
            "webhook_url holds a name and a password", fix="put what it needs into its path or query"
        )
    return value


def _events(value: Any) -> tuple[str, ...]:
    if value in (None, "", []):
        return ()
    names = [name.strip() for name in value.split(",")] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(name in webhook_messages.EVENTS for name in names):
        raise RequestError(
            "webhook_events names an event that does not exist",
            fix=f"a list of {', '.join(webhook_messages.EVENTS)}",
            param="webhook_events",
        )
    return tuple(dict.fromkeys(names))


def _prefix(value: Any) -> str | None:
    if value in (None, ""):
        return None
    if not isinstance(value, str) or not clip_names.is_prefix(value):
        raise RequestError(
            "results_prefix names no folders",
            fix=f"such as project/scene-1: at most {clip_names.MAX_PREFIX} letters, digits, ._=- and slashes",
            param="results_prefix",
        )
    return value.rstrip("/")


def _wrong(problem: str, *, fix: str = "https://your-host/path") -> RequestError:
    return RequestError(problem, fix=fix, param="webhook_url")
