"""Vast.ai. https://docs.vast.ai/documentation/instances/docker-environment"""

from __future__ import annotations

import math

from bootstrap.platforms.base import Env, Stop, StopRequest
from bootstrap.platforms.order import Form, Order, docker_options

NAME = "vast"
TITLE = "Vast.ai"
PROXY_TIMEOUT_SECONDS: float | None = None  # ports are mapped as they are


def is_here(env: Env) -> bool:
    """VAST_CONTAINERLABEL alone is not enough: people set it in their own images."""
    if env.get("CONTAINER_ID") and env.get("VAST_CONTAINERLABEL"):
        return True
    return any(name.startswith("VAST_TCP_PORT_") for name in env)


def public_url(env: Env, port: int) -> str | None:
    """The mapped port; TLS is the user's own matter there, so http unless ENABLE_HTTPS says otherwise."""
    address, mapped = env.get("PUBLIC_IPADDR"), env.get(f"VAST_TCP_PORT_{port}")
    if not address or not mapped:
        return None
    scheme = "https" if env.get("ENABLE_HTTPS", "").lower() == "true" else "http"
    host = f"[{address}]" if ":" in address else address
    return f"{scheme}://{host}:{mapped}"


def data_dir(env: Env) -> str:
    """The container's disk survives a stop; a volume, when there is one, is mounted at the same place."""
    return f"{env.get('DATA_DIRECTORY', '/workspace').rstrip('/') or '/workspace'}/kinokit"


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


def form(order: Order) -> Form:
    """The fields of a template on cloud.vast.ai, and ``PUT /api/v0/asks/{offer}/``.

    SSH and Jupyter launch modes replace the image's entrypoint, so the line goes into the on-start script.
    """
    env = order.env(NAME)
    need = order.profile.needs
    filters = [
        f"gpu_ram>={math.ceil(need.vram_gib / 0.93)}",
        f"cuda_max_good>={order.cuda}",
        f"disk_space>={order.disk_gb}",
        "inet_down>=500",
        "direct_port_count>=2",
        "reliability>0.98",
        "verified=true",
        "rentable=true",
    ]
    if need.compute_capability:
        filters.append(f"compute_cap>={round(need.compute_capability * 100)}")
    if need.ram_gib:
        filters.append(f"cpu_ram>={math.ceil(need.ram_gib)}")
    line = order.line() or "entrypoint.sh kinokit up"
    return Form(
        fields=(
            ("Image path:tag", order.image),
            ("Docker options", docker_options(order, NAME)),
            ("Launch mode", "SSH (it replaces the image's entrypoint; the on-start script runs the kit)"),
            ("Disk space", f"{order.disk_gb} GB"),
            ("Extra filters", " ".join(filters)),
        ),
        paste=line,
        method="PUT",
        url="https://console.vast.ai/api/v0/asks/{offer}/",
        body={
            "client_id": "me",
            "image": order.image,
            "env": {
                **env,
                f"-p {order.port}:{order.port}": "1",
                "-p 22:22": "1",
                "OPEN_BUTTON_PORT": str(order.port),
            },
            "disk": order.disk_gb,
            "runtype": "ssh",
            "onstart": line,
            "label": f"kinokit-{order.manifest.name}",
        },
        notes=("Downloads are billed per GB on most hosts: see the offer's bandwidth price.",),
    )
