"""Where the kit runs: the platform, its data directory and the address that people use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bootstrap import platforms, volume
from bootstrap.launch import listener
from bootstrap.platforms import Platform
from bootstrap.platforms.docker import here as docker

if TYPE_CHECKING:  # a health check every few seconds does not wait for it
    from bootstrap.settings import Settings


@dataclass(frozen=True)
class Location:
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


def of(settings: Settings, env: Mapping[str, str], *, in_container: bool | None = None) -> Location:
    """What the settings say, else what the platform says. Computed at each boot, never kept.

    Platforms see the settings as the variables of the same names, wherever they were set.
    """
    env = {**env, "PLATFORM": settings.platform or "", "PUBLIC_URL": settings.public_url or ""}
    inside = docker.is_container() if in_container is None else in_container
    platform = platforms.detect(env, in_container=inside)
    data_dir = place(platform, env, settings.data_dir, settings.box)
    url = platforms.public_url(platform, env, settings.port)
    return Location(platform, data_dir, url, platform.direct_port(env, settings.port))


def place(
    platform: Platform, env: Mapping[str, str], given: Path | None = None, box: str | None = None
) -> Path:
    """This box's part of the volume that was ``given``, else KINOKIT_DATA_DIR, else the platform's."""
    top = given or Path(env.get("KINOKIT_DATA_DIR") or platform.data_dir(env))
    box = box or env.get("KINOKIT_BOX") or platform.box(env)
    return volume.of_box(top.expanduser().absolute(), box)


def of_running(settings: Settings, env: Mapping[str, str]) -> Location:
    """``of``, for who looks for the service: in a shell that lacks the box's variables, the one that runs."""
    here = of(settings, env)
    if volume.is_held(here.data_dir):
        return here
    held = [box for box in volume.boxes(here.data_dir) if volume.is_held(box)]
    return replace(here, data_dir=held[0]) if len(held) == 1 else here


def settled(settings: Settings, env: Mapping[str, str]) -> Settings:
    """The same with nothing left open that the processes must agree on: data directory and authentication."""
    asked = listener.asks_for_token(settings.auth, settings.host)
    data_dir = of(settings, env).data_dir
    return settings.model_copy(update={"data_dir": data_dir, "auth": "on" if asked else "off"})
