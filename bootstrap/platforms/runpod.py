"""RunPod pods. https://docs.runpod.io/pods/configuration/expose-ports"""

from __future__ import annotations

import math
from typing import Any

from bootstrap.platforms.base import Env, Stop, StopRequest
from bootstrap.platforms.order import PACKAGES_GB, Form, Order

NAME = "runpod"
TITLE = "RunPod"
PROXY_TIMEOUT_SECONDS: float | None = 100.0  # then the proxy answers 524 instead


def is_here(env: Env) -> bool:
    return bool(env.get("RUNPOD_POD_ID"))


def public_url(env: Env, port: int) -> str | None:
    """The TCP port when it is mapped (nothing cuts requests there), else the proxy, which is https only."""
    pod, address = env.get("RUNPOD_POD_ID"), env.get("RUNPOD_PUBLIC_IP")
    mapped = env.get(f"RUNPOD_TCP_PORT_{port}")
    if address and mapped:
        return f"http://{address}:{mapped}"
    return f"https://{pod}-{port}.proxy.runpod.net" if pod else None


def data_dir(env: Env) -> str:
    """/workspace is the volume; everything outside of it is wiped when the pod stops."""
    return "/workspace/kinokit"


def stop(env: Env) -> Stop:
    """RUNPOD_API_KEY in a pod is the pod's own."""
    pod = env.get("RUNPOD_POD_ID")
    if not pod or not env.get("RUNPOD_API_KEY"):
        return Stop("stop the pod on console.runpod.io; its volume is billed until the pod is terminated")
    return Stop(
        "stops this pod with its own key; its volume is billed until the pod is terminated",
        StopRequest("POST", f"https://rest.runpod.io/v1/pods/{pod}/stop", "RUNPOD_API_KEY"),
    )


def form(order: Order) -> Form:
    """The fields of a pod on console.runpod.io, and ``POST /v1/pods``.

    The port is asked for as HTTP (the proxy gives it https) and as TCP (nothing cuts long requests there).
    """
    env = order.env(NAME)
    need = order.profile.needs
    line = order.line()
    body: dict[str, Any] = {
        "name": f"kinokit-{order.manifest.name}",
        "imageName": order.image,
        "env": env,
        "ports": [f"{order.port}/http", f"{order.port}/tcp", "22/tcp"],
        "containerDiskInGb": PACKAGES_GB + 8,
        "volumeInGb": order.disk_gb,
        "volumeMountPath": "/workspace",
        "allowedCudaVersions": [f"{order.cuda}"],
        "minDownloadMbps": 500,
        "minDiskBandwidthMBps": 500,
        "supportPublicIp": True,
    }
    if need.ram_gib:
        body["minRAMPerGPU"] = math.ceil(need.ram_gib)
    if line:
        body["dockerEntrypoint"] = ["bash", "-c"]
        body["dockerStartCmd"] = [line]
    return Form(
        fields=(
            ("GPU", f"one with at least {math.ceil(need.vram_gib / 0.93)} GB"),
            ("Additional filters: CUDA version", f"{order.cuda} or newer"),
            ("Container image", order.image),
            ("Container disk", f"{PACKAGES_GB + 8} GB"),
            ("Volume disk", f"{order.disk_gb} GB, mounted at /workspace"),
            ("Expose HTTP ports", str(order.port)),
            ("Expose TCP ports", f"{order.port},22"),
            ("Environment variables", "  ".join(f"{name}={value}" for name, value in env.items())),
        ),
        paste=f"bash -c '{line}'" if line else None,
        method="POST",
        url="https://rest.runpod.io/v1/pods",
        body=body,
        notes=(
            "Do not choose Global Networking: such pods have no public DNS and every download fails.",
            "The proxy cuts a request after 100 s; the API answers at once and clips are polled for.",
        ),
    )
