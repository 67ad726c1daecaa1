"""Where a box can stand: one folder for each marketplace, and for one's own machine.

``registry`` finds them; the functions here ask the one that this process runs on.
"""

from __future__ import annotations

from bootstrap.errors import KitError
from bootstrap.platforms.base import Env, Platform, Stop, StopRequest
from bootstrap.platforms.registry import PLATFORMS

__all__ = [
    "PLATFORMS",
    "Platform",
    "Stop",
    "StopRequest",
    "address_domains",
    "detect",
    "public_url",
    "stop_box",
]


def detect(env: Env, *, in_container: bool = False) -> Platform:
    """What ``PLATFORM`` names, else the first that recognises itself.

    ``launch.location`` puts the settings ``platform`` and ``public_url`` in the place of these variables.
    ``in_container`` is ``docker.here.is_container()``: a fact of the disk that no variable shows.
    KitError for a name that is not known.
    """
    named = env.get("PLATFORM", "").strip().lower().replace("_", "-")
    if named:
        if named not in PLATFORMS:
            raise KitError(
                f"PLATFORM is {named!r}, which is not known", fix=f"set it to one of {', '.join(PLATFORMS)}"
            )
        return PLATFORMS[named]
    env = {**env, "KINOKIT_CONTAINER": "1"} if in_container else env
    return next(platform for platform in PLATFORMS.values() if platform.is_here(env))


def stop_box(stop: Stop, env: Env) -> bool:
    """Send the request that stops this box; False when there is none or it was refused. Takes up to 20 s."""
    import httpx  # only a box that stops itself pays for the import

    key = env.get(stop.request.key_variable) if stop.request else None
    if stop.request is None or not key:
        return False
    headers = {"Authorization": f"Bearer {key}"}
    try:
        answer = httpx.request(
            stop.request.method, stop.request.url, headers=headers, json=stop.request.body, timeout=20
        )
    except httpx.HTTPError:
        return False
    return answer.is_success


def public_url(platform: Platform, env: Env, port: int) -> str | None:
    """An explicit PUBLIC_URL first, then the platform's own; without a slash at the end."""
    url = env.get("PUBLIC_URL") or platform.public_url(env, port)
    return url.rstrip("/") if url else None


def address_domains() -> list[str]:
    """Of all platforms: a box may stand on one of them and not know it."""
    return [each.ADDRESS_DOMAIN for each in PLATFORMS.values() if each.ADDRESS_DOMAIN is not None]
