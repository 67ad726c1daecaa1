"""Where the kit runs: the platform, its data directory and the address that people use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bootstrap import platforms
from bootstrap.platforms import Platform
from bootstrap.platforms.docker import here as docker
from bootstrap.settings import Settings


@dataclass(frozen=True)
class Site:
    """``public_url`` is None when the platform does not say: Clore's is learnt from the first request.

    ``direct_port``: the outside number of the service's port where no proxy of the platform cuts a request.
    """

    platform: Platform
    data_dir: Path
    public_url: str | None
    direct_port: int | None = None

    def access(self) -> dict[str, Any]:
        """How requests reach the box: a part of the boot document, which the front reads."""
        return {
            "proxy_timeout_seconds": self.platform.PROXY_TIMEOUT_SECONDS,
            "direct_port": self.direct_port,
            "address_domains": platforms.address_domains(),
        }


def of(settings: Settings, env: Mapping[str, str], *, in_container: bool | None = None) -> Site:
    """What the settings say, else what the platform says. Computed at each boot, never kept."""
    inside = docker.is_container() if in_container is None else in_container
    platform = platforms.detect(env, named=settings.platform, in_container=inside)
    data_dir = settings.data_dir or Path(platform.data_dir(env))
    url = settings.public_url or platforms.public_url(platform, env, settings.port)
    direct_port = platform.direct_port(env, settings.port)
    return Site(platform, data_dir.expanduser().absolute(), url, direct_port)
