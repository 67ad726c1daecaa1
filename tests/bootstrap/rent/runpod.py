"""What RunPod answers to each call that the kit makes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.bootstrap.rent.marketplaces import World

TYPES: list[dict[str, Any]] = [
    {
        "id": "NVIDIA GeForce RTX 4090",
        "displayName": "RTX 4090",
        "memoryInGb": 24,
        "secure": {"uninterruptablePrice": 0.69, "minMemory": 41, "stockStatus": "High"},
        "community": {"uninterruptablePrice": 0.34, "minMemory": 41, "stockStatus": "None"},
    },
    {
        "id": "NVIDIA H200",
        "displayName": "H200 SXM",
        "memoryInGb": 141,
        "secure": {"uninterruptablePrice": 3.59, "minMemory": 188, "stockStatus": "Low"},
        "community": None,
    },
    {
        "id": "NVIDIA B200",
        "displayName": "B200",
        "memoryInGb": 180,
        "secure": {"uninterruptablePrice": None, "minMemory": None, "stockStatus": None},
        "community": {"uninterruptablePrice": None, "minMemory": None, "stockStatus": None},
    },
]


def answer(
    world: World, method: str, path: str, query: Mapping[str, str], body: Any
) -> tuple[int, Any] | None:
    """None for a path that RunPod does not have."""
    if path == "/graphql":
        return 200, {"data": {"gpuTypes": world.listings["runpod"]}}
    if path == "/v1/pods" and method == "GET":
        return 200, [*FOREIGN, *world.rented.values()]
    if path == "/v1/pods":
        return created(world, body)
    if path.startswith("/v1/pods/"):
        id, _, verb = path.removeprefix("/v1/pods/").partition("/")
        return changed(world, method, id, verb)
    return None


FOREIGN = [{"id": "p0", "name": "my training", "desiredStatus": "RUNNING", "costPerHr": 2.0}]


def created(world: World, body: Any) -> tuple[int, Any]:
    if world.create_refused:
        return 400, {"error": "no longer there"}
    id = f"pod{world.number(1)}"
    cloud = body.get("cloudType", "SECURE").lower()  # documented default
    gpu = next(each for each in world.listings["runpod"] if each["id"] in body["gpuTypeIds"])
    world.rented[id] = {
        "id": id,
        "name": body["name"],
        "desiredStatus": "RUNNING",
        "costPerHr": world.charged or gpu[cloud]["uninterruptablePrice"],
        "interruptible": body.get("interruptible", False),
        "machineId": "m77",
        "lastStartedAt": "2024-07-12T19:14:40.144Z",
        "volumeInGb": body["volumeInGb"],
        "publicIp": "127.0.0.1",
        "portMappings": {"8000": world.port, "22": 10341},
    }
    return world.answer_to_create(world.rented[id], {})


def changed(world: World, method: str, id: str, verb: str) -> tuple[int, Any]:
    box = world.rented.get(id)
    if box is None:
        return 404, {"error": "pod not found"}
    if method == "DELETE":
        if world.undying:
            world.undying -= 1
            return 500, {"error": "try later"}
        del world.rented[id]
    elif method == "POST":
        box["desiredStatus"] = {"stop": "EXITED", "start": "RUNNING"}[verb]
    return 200, box
