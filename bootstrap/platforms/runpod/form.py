"""What to type into a pod's form on console.runpod.io, and the same as a call of its API."""

from __future__ import annotations

import math
from typing import Any

from bootstrap.platforms.offer import MIN_DOWN_MBPS
from bootstrap.platforms.order import PACKAGES_GB, Form, Order
from bootstrap.platforms.runpod.here import NAME

# What the API takes: each version by its name, there is no "or newer".
CUDA_VERSIONS = (*(f"12.{minor}" for minor in range(10)), "13.0")
CONTAINER_DISK_GB = PACKAGES_GB + 8


def form(order: Order) -> Form:
    """The fields of a pod, and ``POST /v1/pods``.

    The port is asked for as HTTP (the proxy gives it https) and as TCP (nothing cuts long requests there).
    """
    line = order.line()
    variables = "  ".join(f"{name}={value}" for name, value in order.env(NAME).items())
    return Form(
        fields=(
            ("GPU", f"one with at least {order.gpu_gb} GB"),
            ("Additional filters: CUDA version", f"{order.cuda} or newer"),
            ("Container image", order.image),
            ("Container disk", f"{CONTAINER_DISK_GB} GB"),
            ("Volume disk", f"{order.disk_gb} GB, mounted at /workspace"),
            ("Expose HTTP ports", str(order.port)),
            ("Expose TCP ports", f"{order.port},22"),
            ("Environment variables", variables),
        ),
        paste=f"bash -c '{line}'" if line else None,
        method="POST",
        url="https://rest.runpod.io/v1/pods",
        body=_body(order, line),
        notes=(
            "Do not choose Global Networking: such pods have no public DNS and every download fails.",
            "The proxy cuts a request after 100 s; the API answers at once and clips are polled for.",
            "Each cloud has its own price; an API call without cloudType goes to Secure Cloud.",
        ),
    )


def cuda_from(least: float) -> list[str]:
    """The versions that suffice, as the API names them."""
    return [each for each in CUDA_VERSIONS if float(each) >= least]


def _body(order: Order, line: str | None) -> dict[str, Any]:
    body: dict[str, Any] = {
        "name": order.label,
        "imageName": order.image,
        "env": order.env(NAME),
        "ports": [f"{order.port}/http", f"{order.port}/tcp", "22/tcp"],
        "containerDiskInGb": CONTAINER_DISK_GB,
        "volumeInGb": order.disk_gb,
        "volumeMountPath": "/workspace",
        "allowedCudaVersions": cuda_from(float(order.cuda)),
        "minDownloadMbps": MIN_DOWN_MBPS,
        "minDiskBandwidthMBps": 500,
        "supportPublicIp": True,
    }
    if order.profile.needs.ram_gib:
        body["minRAMPerGPU"] = math.ceil(order.profile.needs.ram_gib)
    if line:
        body["dockerEntrypoint"] = ["bash", "-c"]
        body["dockerStartCmd"] = [line]
    return body
