"""RunPod pods. https://docs.runpod.io/pods/configuration/expose-ports"""

from __future__ import annotations

from bootstrap.platforms.base import Env, Stop, StopRequest
from bootstrap.platforms.runpod_serverless import here as serverless

NAME = "runpod"
TITLE = "RunPod"
IS_RENTED = True
STOPS_ITSELF = True
IS_SHORT_LIVED = False
PROXY_TIMEOUT_SECONDS: float | None = 100.0  # then the proxy answers 524 instead
ADDRESS_DOMAIN: str | None = None
SETTINGS: dict[str, str] = {}


def is_here(env: Env) -> bool:
    """A serverless worker has a pod's number too."""
    return bool(env.get("RUNPOD_POD_ID")) and not serverless.is_here(env)


def public_url(env: Env, port: int) -> str | None:
    """The TCP port when it is mapped (nothing cuts requests there), else the proxy, which is https only."""
    pod, address = env.get("RUNPOD_POD_ID"), env.get("RUNPOD_PUBLIC_IP")
    mapped = direct_port(env, port)
    if address and mapped:
        return f"http://{address}:{mapped}"
    return f"https://{pod}-{port}.proxy.runpod.net" if pod else None


def direct_port(env: Env, port: int) -> int | None:
    """Where the port was asked for as TCP."""
    mapped = env.get(f"RUNPOD_TCP_PORT_{port}", "")
    return int(mapped) if mapped.isdecimal() else None


def data_dir(env: Env) -> str:
    """/workspace is the volume; everything outside of it is wiped when the pod stops."""
    return "/workspace/kinokit"


def box(env: Env) -> str | None:
    """A pod keeps its number through stops; its network volume may be mounted in others as well."""
    return env.get("RUNPOD_POD_ID")


def stop(env: Env) -> Stop:
    """RUNPOD_API_KEY in a pod is the pod's own."""
    pod = env.get("RUNPOD_POD_ID")
    if not pod or not env.get("RUNPOD_API_KEY"):
        return Stop("stop the pod on console.runpod.io; its volume is billed until the pod is terminated")
    return Stop(
        "stops this pod with its own key; its volume is billed until the pod is terminated",
        StopRequest("POST", f"https://rest.runpod.io/v1/pods/{pod}/stop", "RUNPOD_API_KEY"),
    )
