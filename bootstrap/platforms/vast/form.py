"""What to type into a template on cloud.vast.ai, and the same as a call of its API."""

from __future__ import annotations

import math
import shlex

from bootstrap.platforms.offer import MIN_DOWN_MBPS, MIN_RELIABILITY
from bootstrap.platforms.order import Form, Order
from bootstrap.platforms.vast.here import NAME


def form(order: Order) -> Form:
    """The fields of a template, and ``PUT /api/v0/asks/{offer}/``.

    SSH and Jupyter launch modes replace the image's entrypoint, so the line goes into the on-start script.
    """
    line = order.line() or "entrypoint.sh kinokit up"
    return Form(
        fields=(
            ("Image path:tag", order.image),
            ("Docker options", _docker_options(order)),
            ("Launch mode", "SSH, with a direct connection (the on-start script runs the kit)"),
            ("Disk space", f"{order.disk_gb} GB"),
            ("Extra filters", " ".join(_filters(order))),
        ),
        paste=line,
        method="PUT",
        url="https://console.vast.ai/api/v0/asks/{offer}/",
        body={
            "client_id": "me",
            "image": order.image,
            "env": {**_variables(order), f"-p {order.port}:{order.port}": "1"},
            "disk": order.disk_gb,
            # Documented: "ssh" is "ssh_proxy", which maps no port 22; this one maps it by itself.
            "runtype": "ssh_direct",
            "onstart": line,
            "label": order.label,
        },
        notes=("Downloads are billed per GB on most hosts: see the offer's bandwidth price.",),
    )


def _variables(order: Order) -> dict[str, str]:
    """The container's, with those of the Open button: it leads to the kit, and its token is the kit's."""
    env = {**order.env(NAME), "OPEN_BUTTON_PORT": str(order.port)}
    return {**env, "OPEN_BUTTON_TOKEN": order.api_key} if order.api_key else env


def _docker_options(order: Order) -> str:
    """``-p PORT:PORT -e NAME=VALUE …``, as the template's field takes them."""
    variables = " ".join(f"-e {name}={shlex.quote(value)}" for name, value in _variables(order).items())
    return f"-p {order.port}:{order.port} {variables}"


def _filters(order: Order) -> list[str]:
    """Which offers suffice, in the language of Vast's search field."""
    need = order.profile.needs
    filters = [
        f"gpu_ram>={order.gpu_gb}",
        f"num_gpus={need.gpus}",
        f"cuda_max_good>={order.cuda}",
        f"disk_space>={order.disk_gb}",
        f"inet_down>={MIN_DOWN_MBPS:g}",
        "direct_port_count>=2",
        f"reliability>={MIN_RELIABILITY:g}",
        "verified=true",
        "rentable=true",
    ]
    if need.compute_capability:
        filters.append(f"compute_cap>={round(need.compute_capability * 100)}")
    if need.ram_gib:
        filters.append(f"cpu_ram>={math.ceil(need.ram_gib)}")
    return filters
