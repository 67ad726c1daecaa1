"""Vast.ai. https://docs.vast.ai/documentation/instances/docker-environment"""

from __future__ import annotations

from bootstrap.platforms.base import Env, Stop, StopRequest, no_direct_port

NAME = "vast"
TITLE = "Vast.ai"
IS_RENTED = True
STOPS_ITSELF = True
IS_SHORT_LIVED = False
PROXY_TIMEOUT_SECONDS: float | None = None  # ports are mapped as they are
ADDRESS_DOMAIN: str | None = None
SETTINGS = {"token": "OPEN_BUTTON_TOKEN"}  # the Open button opens the page with ?token= and this value
direct_port = no_direct_port


def is_here(env: Env) -> bool:
    """VAST_CONTAINERLABEL alone is not enough: people set it in their own images."""
    if env.get("CONTAINER_ID") and env.get("VAST_CONTAINERLABEL"):
        return True
    return any(name.startswith("VAST_TCP_PORT_") for name in env)


def public_url(env: Env, port: int) -> str | None:
    """The mapped port; Vast adds no TLS, so http unless ENABLE_HTTPS is set."""
    address, mapped = env.get("PUBLIC_IPADDR"), env.get(f"VAST_TCP_PORT_{port}")
    if not address or not mapped:
        return None
    scheme = "https" if env.get("ENABLE_HTTPS", "").lower() == "true" else "http"
    host = f"[{address}]" if ":" in address else address
    return f"{scheme}://{host}:{mapped}"


def data_dir(env: Env) -> str:
    """The container's disk survives a stop; a volume, when there is one, is mounted at the same place."""
    return f"{env.get('DATA_DIRECTORY', '/workspace').rstrip('/') or '/workspace'}/kinokit"


def box(env: Env) -> str | None:
    """The instance; a volume may outlive it and be rented with the next."""
    return env.get("CONTAINER_ID") or env.get("VAST_CONTAINERLABEL")


def stop(env: Env) -> Stop:
    """CONTAINER_API_KEY may start, stop and destroy this one instance and nothing else."""
    number = env.get("CONTAINER_ID")
    if not number or not env.get("CONTAINER_API_KEY"):
        return Stop("stop the instance on cloud.vast.ai; the disk is billed until it is destroyed")
    url = f"https://console.vast.ai/api/v0/instances/{number}/"
    return Stop(
        "stops this instance with its own key; the disk is billed until it is destroyed",
        StopRequest("PUT", url, "CONTAINER_API_KEY", {"state": "stopped"}),
    )
