"""A small web server that answers as Vast, RunPod and Clore do, with their odd moments on demand."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

VAST_OFFERS = [
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
RUNPOD_TYPES = [
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
CLORE_SERVERS = [
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


@dataclass
class World:
    """What exists on the fake marketplace, and which odd moments lie ahead."""

    url: str = ""
    key: str = "the-key"
    box_url: str = ""  # of the rented service
    rented: dict[str, dict[str, Any]] = field(default_factory=dict)
    calls: list[tuple[str, str, Any]] = field(default_factory=list)
    rate_limited: int = 0  # the next N calls answer 429 (Clore: code 5)
    create_fails_but_exists: bool = False
    create_names_nothing: bool = False
    create_refused: bool = False  # and nothing is rented
    ready_after: int = 0  # /readyz answers 502 so often before the boot page, then this many 503
    boot_fails: bool = False
    down: bool = False  # every call answers 503, the box's own answers go on
    undying: int = 0  # the next N destroys answer 500
    forgets: int = 0  # the next N lists are empty


@contextmanager
def serve() -> Iterator[World]:
    """One server for the three marketplaces and for the box that they rent out."""
    world = World()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def reply(self, status: int, body: Any, **headers: str) -> None:
            raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def handle_any(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            path = self.path.partition("?")[0]
            if path == "/readyz":
                return self.readyz()
            world.calls.append((self.command, self.path, body))
            clore = path.startswith("/v1/") and "auth" in self.headers
            given = self.headers.get("auth") or (self.headers.get("Authorization") or "").removeprefix(
                "Bearer "
            )
            if given != world.key:
                return self.reply(200, {"code": 3}) if clore else self.reply(401, {"error": "bad key"})
            if world.down:
                return self.reply(503, {"error": "maintenance"})
            if world.rate_limited > 0:
                world.rate_limited -= 1
                return self.reply(200, {"code": 5}) if clore else self.reply(429, {"e": 1}, Retry_After="1")
            answer = answers(world, self.command, path, body, clore)
            return self.reply(*answer)

        do_GET = do_POST = do_PUT = do_DELETE = handle_any

        def readyz(self) -> None:
            if not world.rented:
                return self.reply(404, "Proxy Not Found")
            world.ready_after -= 1
            if world.boot_fails:
                return self.reply(503, {"state": "failed", "phase": "fetch", "progress": None})
            if world.ready_after >= 2:
                return self.reply(502, "<html>502 Bad Gateway</html>")
            if world.ready_after >= 0:
                return self.reply(
                    503, {"state": "fetching", "phase": "fetch", "progress": 0.5}, Retry_After="5"
                )
            return self.reply(200, {"state": "ready", "phase": None, "progress": 1.0})

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        world.url = world.box_url = f"http://127.0.0.1:{server.server_port}"
        yield world
        server.shutdown()


def answers(world: World, method: str, path: str, body: Any, clore: bool) -> tuple[int, Any]:
    """What each marketplace answers to each call that the kit makes."""
    port = int(world.box_url.rsplit(":", 1)[1])
    if world.create_refused and (method == "PUT" or (method, path) == ("POST", "/v1/pods")):
        return 400, {"error": "no longer there"}
    if path == "/api/v0/bundles/":
        return 200, {"offers": VAST_OFFERS}
    if method == "PUT" and path.startswith("/api/v0/asks/"):
        world.rented["9001"] = {
            "id": 9001,
            "label": body["label"],
            "actual_status": "running",
            "public_ipaddr": "127.0.0.1",
            "dph_total": 0.4,
            "ports": {"8000/tcp": [{"HostIp": "0.0.0.0", "HostPort": str(port)}]},
        }
        return created(world, {"success": True, "new_contract": 9001}, {"success": True})
    if world.undying and (method == "DELETE" or path == "/v1/cancel_order"):
        world.undying -= 1
        return 500, {"error": "try later"}
    if path == "/api/v1/instances/" and world.forgets:
        world.forgets -= 1
        return 200, {"instances": []}
    if path == "/api/v1/instances/":
        other = {"id": 1, "label": "my training", "actual_status": "running"}
        return 200, {"instances": [other, *world.rented.values()]}
    if path == "/graphql":
        return 200, {"data": {"gpuTypes": RUNPOD_TYPES}}
    if path == "/v1/pods" and method == "GET":
        return 200, list(world.rented.values())
    if path == "/v1/pods":
        world.rented["pod1"] = {
            "id": "pod1",
            "name": body["name"],
            "desiredStatus": "RUNNING",
            "costPerHr": 0.69,
            "publicIp": "127.0.0.1",
            "portMappings": {"8000": port},
        }
        return created(world, {"id": "pod1"}, {})
    if method == "DELETE":
        return (200, {}) if world.rented.pop(path.rstrip("/").rsplit("/", 1)[1], None) else (404, {})
    if path == "/v1/marketplace":
        return 200, {"code": 0, "servers": CLORE_SERVERS}
    if path == "/v1/create_order":
        world.rented["77"] = {
            "id": 77,
            "si": body["renting_server"],
            "image": body["image"],
            "env": body["env"],
            "currency": body["currency"],
            "price": body["required_price"],
            "online": True,
            "http_port": "8000",
            "http_pub": "x7.us.clorecloud.net",
        }
        return (200, {"code": 1}) if world.create_fails_but_exists else (200, {"code": 0})
    if path == "/v1/wallets":
        return 200, {"code": 0, "wallets": []}
    if path == "/v1/my_orders":
        return 200, {"code": 0, "orders": list(world.rented.values())}
    if path == "/v1/cancel_order":
        return 200, {"code": 0 if world.rented.pop(str(body["id"]), None) else 2}
    return 404, {"error": f"{method} {path}"}


def created(world: World, named: Any, nameless: Any) -> tuple[int, Any]:
    if world.create_fails_but_exists:
        return 500, {"error": "internal"}
    return 200, nameless if world.create_names_nothing else named
