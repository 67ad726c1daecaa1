"""Does the kit answer? For a container's HEALTHCHECK: ``python -m bootstrap.launch.health``, exit 0 or 1.

It runs every few seconds, so it loads no settings: the agent's record says where the front listens, whatever
set the port. The images set KINOKIT_DATA_DIR, which wins over a configuration file.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from bootstrap import data_directory

ANSWER_SECONDS = 3.0


def check(env: Mapping[str, str]) -> bool:
    """True when the front of this data directory answers ``/healthz`` with 200 within 3 seconds."""
    record = data_directory.record(Path(env.get("KINOKIT_DATA_DIR") or ".")) or {}
    address = urlsplit(str(record.get("local_url", "")))
    if address.hostname is None or address.port is None:
        return False
    try:
        with socket.create_connection((address.hostname, address.port), ANSWER_SECONDS) as front:
            front.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
            return front.recv(64).split(b" ")[1:2] == [b"200"]
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(0 if check(os.environ) else 1)
