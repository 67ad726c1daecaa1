"""Clore. Nothing in the container tells of it: ``PLATFORM=clore`` comes with the start command, or the first
request's Host names it. https://docs.clore.ai
"""

from __future__ import annotations

from bootstrap.platforms.base import Env, Stop

NAME = "clore"
TITLE = "Clore.ai"
PROXY_TIMEOUT_SECONDS: float | None = None  # a reverse proxy is there, its limit is not documented
DOMAIN = ".clorecloud.net"


def is_here(env: Env) -> bool:
    return env.get("PUBLIC_URL", "").rstrip("/").endswith(DOMAIN)


def public_url(env: Env, port: int) -> str | None:
    """Not known before the first request (``url_from_host``), unless the start command gave it."""
    return env.get("PUBLIC_URL") or None


def data_dir(env: Env) -> str:
    """The container's disk, which lasts as long as the order; there are no volumes."""
    return f"{env.get('HOME') or '/root'}/kinokit"


def stop(env: Env) -> Stop:
    """No key of the order is in the container, and the account's key must never be."""
    return Stop(
        "end the order on clore.ai under My Orders; only your account's key can, and it stays with you"
    )


def url_from_host(host: str) -> str | None:
    """The public address behind a request's Host or X-Forwarded-Host; None when it is not Clore's.

    Clore ends TLS itself, always on port 443.
    """
    name = host.strip().lower().partition(":")[0]
    labels = name.removesuffix(DOMAIN).split(".")
    if not name.endswith(DOMAIN) or not all(_is_label(label) for label in labels):
        return None
    return f"https://{name}"


def _is_label(label: str) -> bool:
    return label.replace("-", "").isalnum() and label.isascii()
