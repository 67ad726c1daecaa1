"""The link between client and server: a network namespace's loopback with a cap."""

from __future__ import annotations

import os
import subprocess
import sys


def enter(marker: str) -> None:
    """Run this program again in a network of its own: the caps touch nobody else, and no port is taken."""
    os.execvp("unshare", ["unshare", "-n", sys.executable, *sys.argv, marker])  # noqa: S606


def bring_up() -> None:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def cap(gbit: float | None) -> None:
    """Let the loopback carry so much and no more."""
    subprocess.run(["tc", "qdisc", "del", "dev", "lo", "root"], capture_output=True)
    if gbit:
        rate = ["rate", f"{gbit * 1000:.0f}mbit", "burst", "4mb", "latency", "50ms"]
        subprocess.run(["tc", "qdisc", "add", "dev", "lo", "root", "tbf", *rate], check=True)
