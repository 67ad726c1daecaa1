"""Clore. Nothing in the container names it: ``PLATFORM=clore`` comes with the start command, and the address
with the first visit: Clore ends TLS itself, always on port 443. https://docs.clore.ai
"""

from __future__ import annotations

from bootstrap.platforms.base import Env, Stop, alone, no_direct_port

NAME = "clore"
TITLE = "Clore.ai"
IS_RENTED = True
STOPS_ITSELF = False
IS_SHORT_LIVED = False
PROXY_TIMEOUT_SECONDS: float | None = None  # a reverse proxy is there, its limit is not documented
ADDRESS_DOMAIN: str | None = ".clorecloud.net"
SETTINGS: dict[str, str] = {}
direct_port = no_direct_port
box = alone


def is_here(env: Env) -> bool:
    return env.get("PUBLIC_URL", "").rstrip("/").endswith(str(ADDRESS_DOMAIN))


def public_url(env: Env, port: int) -> str | None:
    """Not known before the first visit."""
    return None


def data_dir(env: Env) -> str:
    """The container's disk, which lasts as long as the order; there are no volumes."""
    return f"{env.get('HOME') or '/root'}/kinokit"


def stop(env: Env) -> Stop:
    """No key of the order is in the container, and the account's key must never be."""
    return Stop(
        "end the order on clore.ai under My Orders; only your account's key can, and it stays with you"
    )
