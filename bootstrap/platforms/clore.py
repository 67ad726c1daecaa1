"""Clore. Nothing in the container tells of it: ``PLATFORM=clore`` comes with the start command, or the first
request's Host names it. https://docs.clore.ai
"""

from __future__ import annotations

import math

from bootstrap.platforms.base import Env, Stop
from bootstrap.platforms.order import Form, Order

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


def form(order: Order) -> Form:
    """The fields of an order on clore.ai, and ``POST /v1/create_order`` (header ``auth``, 1 call in 5 s)."""
    env = order.env(NAME)
    need = order.profile.needs
    line = order.line()
    return Form(
        fields=(
            ("GPU", f"one with at least {math.ceil(need.vram_gib / 0.93)} GB, CUDA {order.cuda} or newer"),
            ("Storage of the server", f"at least {order.disk_gb} GB free"),
            ("Docker image", order.image),
            ("Ports", f"22 tcp, {order.port} http"),
            ("Environment", "  ".join(f"{name}={value}" for name, value in env.items())),
        ),
        paste=line,
        method="POST",
        url="https://api.clore.ai/v1/create_order",
        body={
            "type": "on-demand",
            "currency": "CLORE-Blockchain",
            "renting_server": "{server}",
            "image": order.image,
            "ports": {"22": "tcp", str(order.port): "http"},
            "env": env,
            **({"command": line} if line else {}),
            **({"ssh_key": order.ssh_key} if order.ssh_key else {}),
        },
        notes=(
            "The page says Proxy Not Found until the container runs (2 minutes); then the boot page shows.",
            "The public address stands under My Orders; the box learns it from your first visit.",
        ),
    )
