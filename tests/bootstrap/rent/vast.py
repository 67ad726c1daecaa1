"""What Vast.ai answers to each call that the kit makes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.bootstrap.rent.marketplaces import World

OFFERS: list[dict[str, Any]] = [
    {
        "id": 11,
        "gpu_name": "RTX 4090",
        "num_gpus": 1,
        "gpu_ram": 24564,
        "compute_cap": 890,
        "cuda_max_good": 13.0,
        "dph_total": 0.40,
        "inet_down": 800.0,
        "inet_down_cost": 0.002,
        "disk_space": 300.0,
        "reliability2": 0.99,
        "cpu_ram": 131072,
        "geolocation": "Sweden, SE",
    },
    {
        "id": 12,
        "gpu_name": "H200",
        "num_gpus": 1,
        "gpu_ram": 143771,
        "compute_cap": 900,
        "cuda_max_good": 13.0,
        "dph_total": 2.40,
        "inet_down": 5000.0,
        "inet_down_cost": 0.0,
        "disk_space": 900.0,
        "reliability2": 0.999,
        "cpu_ram": 262144,
        "geolocation": "Texas, US",
    },
    {
        "id": 13,
        "gpu_name": "GTX Unheard",
        "num_gpus": 1,
        "gpu_ram": 81920,
        "compute_cap": 900,
        "cuda_max_good": 13.0,
        "dph_total": 0.10,
        "inet_down": None,
        "disk_space": 900.0,
        "cpu_ram": 262144,
    },
]


def answer(
    world: World, method: str, path: str, query: Mapping[str, str], body: Any
) -> tuple[int, Any] | None:
    """None for a path that Vast.ai does not have."""
    if path == "/api/v0/bundles/":
        allowed = ("GET",) if world.old_api else ("POST",)
        return (200, {"offers": world.listings["vast"]}) if method in allowed else (405, {"error": "method"})
    if method == "PUT" and path.startswith("/api/v0/asks/"):
        return created(world, body)
    if path == "/api/v1/instances/":
        return (404, {"error": "no such path"}) if world.old_api else page(world, query)
    if path == "/api/v0/instances/" and world.old_api:
        return 200, {"instances": [*FOREIGN, *world.rented.values()]}
    if path.startswith("/api/v0/instances/request_logs/"):
        return 200, {"success": True, "result_url": f"{world.url}/log-store"}
    if path.startswith("/api/v0/instances/"):
        return changed(world, method, path.rstrip("/").rsplit("/", 1)[1], body)
    return None


FOREIGN = [{"id": 1, "label": "my training", "actual_status": "running", "dph_total": 2.0}]
PAGE = 2  # documented: 25


def page(world: World, query: Mapping[str, str]) -> tuple[int, Any]:
    """The list comes in pages, the kit's own on the last."""
    if world.forgets:
        world.forgets -= 1
        return 200, {"instances": []}
    everything = [*FOREIGN, *world.rented.values()]
    start = int(query.get("after_token", 0))
    following = str(start + PAGE) if start + PAGE < len(everything) else None
    return 200, {"instances": everything[start : start + PAGE], "next_token": following}


def created(world: World, body: Any) -> tuple[int, Any]:
    if world.create_refused:
        return 400, {"error": "no longer there"}
    number = world.number(9001)
    world.rented[str(number)] = {
        "id": number,
        "label": body["label"],
        "actual_status": "running",
        "public_ipaddr": "127.0.0.1",
        "dph_total": world.charged or 0.4,
        "storage_total_cost": 0.02,
        "is_bid": "price" in body,
        "machine_id": world.machines[min(world.made, len(world.machines)) - 1],
        "start_date": 1764300000.5,
        "ssh_host": "ssh4.vast.ai",
        "ssh_port": 31022,
        "ports": {"8000/tcp": [{"HostIp": "0.0.0.0", "HostPort": str(world.port)}]},
    }
    named = {"success": True, "new_contract": number}
    return world.answer_to_create(named, {"success": True})


def changed(world: World, method: str, id: str, body: Any) -> tuple[int, Any]:
    box = world.rented.get(id)
    if box is None:
        return 404, {"success": False, "error": "not_found"}
    if method == "DELETE":
        if world.undying:
            world.undying -= 1
            return 500, {"error": "try later"}
        del world.rented[id]
    elif method == "PUT":
        stopped = body["state"] == "stopped"
        box["actual_status"] = "exited" if stopped else "running"
        box["intended_status"] = body["state"]
    return 200, {"success": True}
