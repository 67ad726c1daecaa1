"""RunPod's API: GraphQL for prices, REST for pods. https://rest.runpod.io/v1/docs"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bootstrap.choose.manifest import Needs
from bootstrap.choose.prices import USABLE_SHARE
from bootstrap.platforms.market import Market, MarketError, Offer, Rental
from bootstrap.platforms.order import LABEL_PREFIX, Order
from bootstrap.platforms.runpod.form import form
from bootstrap.platforms.runpod.here import NAME

PRICES = """query { gpuTypes { id displayName memoryInGb
  lowestPrice(input: {gpuCount: 1}) { uninterruptablePrice minMemory stockStatus } } }"""


class Client(Market):
    """Offers are GPU types with a price; a rental is a pod. RunPod's API has no compute capabilities."""

    name = "RunPod"
    address = "https://rest.runpod.io"
    key_variable = "RUNPOD_API_KEY"
    graphql = "https://api.runpod.io/graphql"

    def auth(self, key: str) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {key}"}

    def offers(self, needs: Needs, disk_gb: int) -> list[Offer]:
        # Tests give one address for both; the real ones differ.
        path = self.graphql if self.base_url.startswith(self.address) else "/graphql"
        found = self.call("POST", path, body={"query": PRICES})
        offers = []
        for each in found["data"]["gpuTypes"]:
            price = each.get("lowestPrice") or {}
            dollars = price.get("uninterruptablePrice")
            if dollars and each["memoryInGb"] * USABLE_SHARE >= needs.vram_gib and price.get("stockStatus"):
                offers.append(
                    Offer(
                        platform=NAME,
                        id=str(each["id"]),
                        gpu=str(each["displayName"]),
                        gpus=1,
                        vram_gib=float(each["memoryInGb"]),
                        dollars_per_hour=float(dollars),
                        ram_gib=price.get("minMemory"),
                        place=f"stock {price['stockStatus'].lower()}",
                    )
                )
        return offers

    def create(self, offer: Offer, order: Order) -> Rental:
        body = {**form(order).body, "gpuTypeIds": [offer.id], "gpuCount": 1}
        id = self.made_by(lambda: str(self.call("POST", "/v1/pods", body=body)["id"]), order)
        return Rental(NAME, id, order.label, "created", None, offer.dollars_per_hour)

    def rentals(self, port: int = 8000) -> list[Rental]:
        found = self.call("GET", "/v1/pods")
        return [
            self._rental(each, port) for each in found if str(each.get("name", "")).startswith(LABEL_PREFIX)
        ]

    def _rental(self, each: Mapping[str, Any], port: int) -> Rental:
        id = str(each["id"])
        mapped = (each.get("portMappings") or {}).get(str(port))
        url = f"https://{id}-{port}.proxy.runpod.net"
        if mapped and each.get("publicIp"):
            url = f"http://{each['publicIp']}:{mapped}"
        return Rental(NAME, id, str(each["name"]), str(each.get("desiredStatus")), url, each.get("costPerHr"))

    def destroy(self, id: str) -> None:
        try:
            self.call("DELETE", f"/v1/pods/{id}")
        except MarketError as error:
            if error.status != 404:
                raise
