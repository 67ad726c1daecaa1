"""The environment of a box on each platform, as its documentation lists it."""

from __future__ import annotations

from bootstrap.platforms.base import Env

RUNPOD = {
    "RUNPOD_POD_ID": "w3xyz",
    "RUNPOD_DC_ID": "EU-RO-1",
    "RUNPOD_PUBLIC_IP": "203.0.113.7",
    "RUNPOD_TCP_PORT_22": "10341",
    "RUNPOD_API_KEY": "rpa_secret",
}
SERVERLESS = {"RUNPOD_POD_ID": "w3xyz", "RUNPOD_ENDPOINT_ID": "ep1", "RUNPOD_WEBHOOK_GET_JOB": "https://x"}
VAST = {
    "CONTAINER_ID": "1234567",
    "VAST_CONTAINERLABEL": "C.1234567",
    "PUBLIC_IPADDR": "198.51.100.4",
    "VAST_TCP_PORT_8000": "40123",
    "CONTAINER_API_KEY": "vast_secret",
}
ENVIRONMENTS: dict[str, Env] = {
    "bare": {},
    "clore": {"PUBLIC_URL": "https://ab12.us.clorecloud.net"},
    "docker": {"container": "podman"},
    "runpod": RUNPOD,
    "runpod-serverless": SERVERLESS,
    "vast": VAST,
}
