"""Does the kit answer? For a container's HEALTHCHECK: ``python -m bootstrap.launch.health``, exit 0 or 1.

It runs every few seconds, so it loads no settings unless a file holds some: the agent's record says where the
front listens, whatever set the port.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from bootstrap import data_directory, platforms
from bootstrap.launch import location
from bootstrap.platforms.docker import here as docker

ANSWER_SECONDS = 3.0
NAMES = ("PLATFORM", "PUBLIC_URL")  # what platforms are told by; the kit's own variables come first


def check(env: Mapping[str, str]) -> bool:
    """True when the front of this data directory answers ``/healthz`` with 200 within 3 seconds."""
    record = data_directory.record(_data_dir(env)) or {}
    address = urlsplit(str(record.get("local_url", "")))
    if address.hostname is None or address.port is None:
        return False
    try:
        with socket.create_connection((address.hostname, address.port), ANSWER_SECONDS) as front:
            front.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
            return front.recv(64).split(b" ")[1:2] == [b"200"]
    except OSError:
        return False


def _data_dir(env: Mapping[str, str]) -> Path:
    if env.get("KINOKIT_CONFIG") or Path("kinokit.yaml").exists():
        from bootstrap import settings  # takes long to import

        return location.of(settings.load({}, env).settings, env).data_dir
    env = {**env, **{name: env[f"KINOKIT_{name}"] for name in NAMES if env.get(f"KINOKIT_{name}")}}
    return location.place(platforms.detect(env, in_container=docker.is_container()), env)


if __name__ == "__main__":
    sys.exit(0 if check(os.environ) else 1)
