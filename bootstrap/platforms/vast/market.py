"""Vast.ai's API. https://docs.vast.ai/api-reference"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from bootstrap.choose.manifest import Needs
from bootstrap.platforms.market import Market, MarketError, Offer, Rental
from bootstrap.platforms.order import CUDA, LABEL_PREFIX, Order
from bootstrap.platforms.vast.form import form
from bootstrap.platforms.vast.here import NAME


class Client(Market):
    """Offers are asks of hosts; a rental is an instance."""

    name = "Vast.ai"
    address = "https://console.vast.ai"
    key_variable = "VAST_API_KEY"

    def auth(self, key: str) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {key}"}

    def offers(self, needs: Needs, disk_gb: int) -> list[Offer]:
        wanted: dict[str, Any] = {
            "rentable": {"eq": True},
            "verified": {"eq": True},
            "type": "on-demand",
            "gpu_ram": {"gte": needs.vram_gib * 1024},
            "cpu_ram": {"gte": needs.ram_gib * 1024},
            "disk_space": {"gte": disk_gb},
            "direct_port_count": {"gte": 2},
            "cuda_max_good": {"gte": CUDA},
            "inet_down": {"gte": 200},
            "order": [["dph_total", "asc"]],
            "limit": 100,
        }
        if needs.compute_capability:
            wanted["compute_cap"] = {"gte": round(needs.compute_capability * 100)}
        found = self.call("GET", "/api/v0/bundles/", query={"q": json.dumps(wanted)})
        return [self._offer(each) for each in found["offers"]]

    def _offer(self, each: Mapping[str, Any]) -> Offer:
        return Offer(
            platform=NAME,
            id=str(each["id"]),
            gpu=str(each["gpu_name"]),
            gpus=int(each["num_gpus"]),
            vram_gib=float(each["gpu_ram"]) / 1024,
            dollars_per_hour=float(each["dph_total"]),
            compute_capability=each["compute_cap"] / 100 if each.get("compute_cap") else None,
            ram_gib=each["cpu_ram"] / 1024 if each.get("cpu_ram") else None,
            disk_gb=each.get("disk_space"),
            down_mbps=each.get("inet_down"),
            dollars_per_gb_down=float(each.get("inet_down_cost") or 0),
            cuda=each.get("cuda_max_good"),
            reliability=each.get("reliability2") or each.get("reliability"),
            place=each.get("geolocation"),
        )

    def create(self, offer: Offer, order: Order) -> Rental:
        path, body = f"/api/v0/asks/{offer.id}/", form(order).body
        id = self.made_by(lambda: str(self.call("PUT", path, body=body)["new_contract"]), order)
        return Rental(NAME, id, order.label, "created", None, offer.dollars_per_hour)

    def rentals(self, port: int = 8000) -> list[Rental]:
        found = self.call("GET", "/api/v0/instances/", query={"owner": "me"})
        return [self._rental(each, port) for each in found["instances"] if _ours(each)]

    def _rental(self, each: Mapping[str, Any], port: int) -> Rental:
        mapped = (each.get("ports") or {}).get(f"{port}/tcp")
        address = each.get("public_ipaddr")
        url = f"http://{address}:{mapped[0]['HostPort']}" if mapped and address else None
        state = str(each.get("actual_status") or "unknown")
        return Rental(NAME, str(each["id"]), str(each["label"]), state, url, each.get("dph_total"))

    def destroy(self, id: str) -> None:
        try:
            self.call("DELETE", f"/api/v0/instances/{id}/")
        except MarketError as error:
            if error.status != 404:
                raise


def _ours(each: Mapping[str, Any]) -> bool:
    return str(each.get("label") or "").startswith(LABEL_PREFIX)
