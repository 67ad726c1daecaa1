"""Does the port answer? For a container's HEALTHCHECK: ``python -m bootstrap.launch.health``, exit 0 or 1."""

from __future__ import annotations

import os
import sys
import urllib.request
from collections.abc import Mapping


def check(env: Mapping[str, str]) -> bool:
    """True when the front on this machine answers ``/healthz`` with 200 within 3 seconds."""
    port = env.get("KINOKIT_PORT") or env.get("PORT") or "8000"
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=3) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(0 if check(os.environ) else 1)
