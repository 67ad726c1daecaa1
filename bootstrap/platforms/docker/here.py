"""A container on one's own machine, or on a marketplace that is not known here."""

from __future__ import annotations

from pathlib import Path

from bootstrap.platforms.bare import here as bare
from bootstrap.platforms.base import Env, Stop, alone, no_direct_port

NAME = "docker"
TITLE = "Docker"
IS_RENTED = False
STOPS_ITSELF = False
IS_SHORT_LIVED = False
PROXY_TIMEOUT_SECONDS: float | None = None
ADDRESS_DOMAIN: str | None = None
SETTINGS: dict[str, str] = {}
direct_port = no_direct_port
box = alone


def is_here(env: Env) -> bool:
    """``container`` is what podman, systemd-nspawn and the kit's own images set."""
    return bool(env.get("container") or env.get("KINOKIT_CONTAINER") or env.get("KUBERNETES_SERVICE_HOST"))


def public_url(env: Env, port: int) -> str | None:
    """A container does not know the port that it was published at."""
    return None


def data_dir(env: Env) -> str:
    """KINOKIT_VOLUME, which the kit's images set to /data; else a user's own, as without a container.

    It is no setting: on a marketplace the volume that is mounted there counts, in the kit's images as well.
    """
    return env.get("KINOKIT_VOLUME") or bare.data_dir(env)


def stop(env: Env) -> Stop:
    return Stop("`docker stop` ends the container")


def is_container(root: Path = Path("/")) -> bool:
    """Docker and podman leave these files; for ``platforms.detect``, which puts it into the environment."""
    return (root / ".dockerenv").exists() or (root / "run/.containerenv").exists()
