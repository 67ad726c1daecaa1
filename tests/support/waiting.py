"""Until something is true, as services that start one after the other make it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import httpx


def wait_for(true: Callable[[], Any], seconds: float = 60) -> None:
    """Ask until it is true; what a service that is not up yet makes of the question is a no."""
    until = time.monotonic() + seconds
    while True:
        with suppress(httpx.TransportError, ValueError, LookupError, TypeError, OSError):
            if true():
                return
        assert time.monotonic() < until, f"not true within {seconds:g} s"
        time.sleep(0.05)
