"""TCP ports of this machine."""

from __future__ import annotations

import random
import socket

# Below those that the kernel gives to whoever connects: it would give one away before the service binds it.
PORTS = range(10_000, 32_000)


def free_port() -> int:
    while True:
        port = random.choice(PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("0.0.0.0", port))
            except OSError:  # taken
                continue
            return port


def refused(port: int) -> bool:
    """Nobody listens there, and anybody may."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
