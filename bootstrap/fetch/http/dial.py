"""A TCP connection to a host."""

from __future__ import annotations

import socket


def connect(host: str, port: int, seconds: float) -> socket.socket:
    """Connect to the first address that answers. OSError when none does."""
    made = socket.create_connection((host, port), seconds)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made
