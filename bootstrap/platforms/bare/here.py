"""A machine of one's own, without a marketplace or a container."""

from __future__ import annotations

from bootstrap.platforms.base import Env, Stop, alone, no_direct_port

NAME = "bare"
TITLE = "this machine"
IS_RENTED = False
STOPS_ITSELF = False
IS_SHORT_LIVED = False
PROXY_TIMEOUT_SECONDS: float | None = None
ADDRESS_DOMAIN: str | None = None
SETTINGS: dict[str, str] = {}
direct_port = no_direct_port
box = alone


def is_here(env: Env) -> bool:
    return True


def public_url(env: Env, port: int) -> str | None:
    return f"http://127.0.0.1:{port}"


def data_dir(env: Env) -> str:
    """Where this user's programs keep their data, ~/.local/share/kinokit on Linux."""
    if env.get("XDG_DATA_HOME"):
        return f"{env['XDG_DATA_HOME']}/kinokit"
    if env.get("HOME"):
        return f"{env['HOME']}/.local/share/kinokit"
    import platformdirs  # no start with a home directory waits for it

    return platformdirs.user_data_dir("kinokit")


def stop(env: Env) -> Stop:
    return Stop("`kinokit down` ends the service; this machine is not rented")
