"""What Clore answers to each call that the kit makes: its codes come inside of 200s."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.bootstrap.rent.marketplaces import World

SERVERS: list[dict[str, Any]] = [
    {
        "id": 501,
        "rented": False,
        "cuda_version": "13.0",
        "reliability": 0.99,
        "specs": {
            "gpu": "1x NVIDIA GeForce RTX 4090",
            "gpuram": 24,
            "ram": 128.0,
            "disk": "NVMe 800.0GB",
            "net": {"up": 500.0, "down": 900.0, "cc": "DE"},
        },
        "price": {"usd": {"on_demand_usd": 9.6}},
    },
    {
        "id": 502,
        "rented": True,
        "cuda_version": "13.0",
        "specs": {"gpu": "1x NVIDIA H100", "gpuram": 80, "ram": 256.0},
        "price": {"usd": {"on_demand_usd": 40.0}},
    },
    {
        "id": 503,
        "rented": False,
        "cuda_version": "12.4",
        "specs": {"gpu": "8x NVIDIA GeForce RTX 3090", "gpuram": 24},
        "price": {"usd": {"on_demand_usd": 40.0}},
    },
]


def answer(
    world: World, method: str, path: str, query: Mapping[str, str], body: Any
) -> tuple[int, Any] | None:
    """None for a path that Clore does not have."""
    if path == "/v1/marketplace":
        return 200, {"code": 0, "servers": world.listings["clore"]}
    if path == "/v1/wallets":
        return 200, {"code": 0, "wallets": [{"name": name, "balance": 5.0} for name in world.wallets]}
    if path == "/v1/create_order":
        return created(world, body)
    if path == "/v1/my_orders":
        return 200, {"code": 0, "orders": [FOREIGN, *(shown(world, each) for each in world.rented.values())]}
    if path == "/v1/cancel_order":
        if world.undying:
            world.undying -= 1
            return 500, {"error": "try later"}
        return 200, {"code": 0 if world.rented.pop(str(body["id"]), None) else 2}
    return None


# Somebody's own page on the kit's port: only its id tells that it is not the kit's.
FOREIGN = {
    "id": 5,
    "si": 900,
    "online": True,
    "http_port": "8000",
    "price": 48.0,
    "ct": 1764300000,
    "currency": "USD-Blockchain",
}


def created(world: World, body: Any) -> tuple[int, Any]:
    if world.create_refused:
        return 200, {"code": 6, "error": "server-already-rented"}
    number = world.number(77)
    world.rented[str(number)] = {
        "id": number,
        "si": body["renting_server"],
        "image": body["image"],
        "env": body["env"],
        "currency": body["currency"],
        "price": world.charged or body.get("required_price") or body.get("spotprice"),
        "spot": body["type"] == "spot",
        "online": True,
        "ct": 1764300000,
        "http_port": "8000",
        "http_pub": "x7.us.clorecloud.net",
        "pub_cluster": ["n1.us.clorecloud.net"],
        "tcp_ports": ["22:1972"],
    }
    return (
        (200, {"code": 1})
        if world.create_fails_but_exists
        else world.answer_to_create({"code": 0}, {"code": 0})
    )


def shown(world: World, order: dict[str, Any]) -> dict[str, Any]:
    """The documents do not say that variables are given back."""
    return {key: value for key, value in order.items() if key != "env" or world.gives_variables_back}
