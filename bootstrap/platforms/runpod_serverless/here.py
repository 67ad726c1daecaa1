"""RunPod serverless workers. https://docs.runpod.io/serverless/load-balancing/overview"""

from __future__ import annotations

from bootstrap.platforms.base import Env, Stop, no_direct_port

NAME = "runpod-serverless"
TITLE = "RunPod serverless"
IS_RENTED = True
STOPS_ITSELF = False
IS_SHORT_LIVED = True
# Of a load-balancing endpoint; a queue endpoint has its own limits.
PROXY_TIMEOUT_SECONDS: float | None = 330.0
ADDRESS_DOMAIN: str | None = None
SETTINGS: dict[str, str] = {}
direct_port = no_direct_port


def is_here(env: Env) -> bool:
    """The endpoint's variables; RUNPOD_POD_ID alone is a pod."""
    return bool(env.get("RUNPOD_WEBHOOK_GET_JOB") or env.get("RUNPOD_ENDPOINT_ID"))


def public_url(env: Env, port: int) -> str | None:
    """The endpoint's own address, one for all of its workers; it asks for the account's API key."""
    endpoint = env.get("RUNPOD_ENDPOINT_ID")
    return f"https://{endpoint}.api.runpod.ai" if endpoint else None


def data_dir(env: Env) -> str:
    """The network volume, which is mounted elsewhere than in a pod."""
    return "/runpod-volume/kinokit"


def box(env: Env) -> str | None:
    """The worker: all workers of an endpoint share its network volume."""
    return env.get("RUNPOD_POD_ID") or env.get("HOSTNAME")


def stop(env: Env) -> Stop:
    return Stop("RunPod ends an idle worker itself, after the idle time of the endpoint")
