"""RunPod's API: GraphQL for prices, REST for pods. https://rest.runpod.io/v1/docs"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from bootstrap.choose.manifest import Needs
from bootstrap.platforms import card, reading
from bootstrap.platforms.market import Filters, Market, MarketError, Offer, Rental, Ssh
from bootstrap.platforms.offer import disk_dollars_per_hour
from bootstrap.platforms.order import Order
from bootstrap.platforms.rental import State
from bootstrap.platforms.runpod.form import CONTAINER_DISK_GB, cuda_from, form
from bootstrap.platforms.runpod.here import NAME

# Each cloud has its own price and stock: asked together, the answer is the cheaper one's, and an order
# without a cloud goes to the dearer.
PRICES = """query { gpuTypes { id displayName memoryInGb
  secure: lowestPrice(input: {gpuCount: %(gpus)d, secureCloud: true}) { ...price }
  community: lowestPrice(input: {gpuCount: %(gpus)d, secureCloud: false}) { ...price } } }
fragment price on LowestPrice { uninterruptablePrice minimumBidPrice minMemory minVcpu stockStatus }"""
CLOUDS = ("secure", "community")
# https://docs.runpod.io/pods/pricing: a month's dollars for a GB, of a running and of a stopped pod.
DISK_DOLLARS = 0.10
STOPPED_VOLUME_DOLLARS = 0.20
STATES: Mapping[str, State] = {"RUNNING": "running", "EXITED": "stopped", "TERMINATED": "ended"}


class Client(Market):
    """Offers are GPU types of a cloud; a rental is a pod.

    Its API names no host, no link and no CUDA before the order: the order demands what the filters ask.
    """

    name = "RunPod"
    address = "https://rest.runpod.io"
    key_variable = "RUNPOD_API_KEY"
    graphql = "https://api.runpod.io/graphql"

    def auth(self, key: str) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {key}"}

    def _offers(self, needs: Needs, disk_gb: int, filters: Filters) -> list[Offer]:
        # Tests give one address for both; the real ones differ.
        path = self.graphql if self.base_url.startswith(self.address) else "/graphql"
        gpus = filters.gpus or 1
        found = self.call("POST", path, body={"query": PRICES % {"gpus": gpus}}, repeat=True)
        if isinstance(found, Mapping) and found.get("errors"):
            raise MarketError(f"{self.name} answers: {str(found['errors'])[:300]}", 200)
        types = self.listed(found, "data", "gpuTypes")
        return [
            offer
            for each in types
            for cloud in CLOUDS
            for offer in _offer(each, cloud, disk_gb, gpus, filters)
        ]

    def _order(self, offer: Offer, order: Order) -> str | None:
        body = {**form(order).body, "gpuCount": offer.gpus, **offer.terms}
        answer = self.call("POST", "/v1/pods", body=body)
        id = answer.get("id") if isinstance(answer, Mapping) else None
        return str(id) if id else None

    def _all(self, port: int) -> list[Rental]:
        found = self.call("GET", "/v1/pods", query={"includeMachine": "true"})
        return [_rental(each, port) for each in self.listed(found) if each.get("id")]

    def _destroy(self, id: str) -> None:
        self.call("DELETE", f"/v1/pods/{id}")

    def _stop(self, id: str) -> None:
        self.call("POST", f"/v1/pods/{id}/stop", repeat=True)

    def _resume(self, id: str) -> None:
        self.call("POST", f"/v1/pods/{id}/start", repeat=True)


def _offer(each: Mapping[str, Any], cloud: str, disk_gb: int, gpus: int, filters: Filters) -> Iterator[Offer]:
    """None or one: a cloud that has no stock has no offer."""
    price = reading.part(each, cloud)
    stock = str(price.get("stockStatus") or "None")
    listed = reading.number(price.get("minimumBidPrice" if filters.interruptible else "uninterruptablePrice"))
    vram_gib = reading.number(each.get("memoryInGb"))
    if not listed or stock == "None" or not each.get("id") or not vram_gib:
        return
    gpu = str(each.get("displayName") or each["id"])
    yield Offer(
        platform=NAME,
        id=f"{re.sub('[^a-z0-9]+', '-', gpu.lower())}:{cloud}",  # what a person types
        gpu=gpu,
        gpus=gpus,
        vram_gib=vram_gib,
        # The price is of one GPU.
        dollars_per_hour=listed * gpus + disk_dollars_per_hour(disk_gb + CONTAINER_DISK_GB, DISK_DOLLARS),
        listed_dollars_per_hour=listed * gpus,
        stopped_dollars_per_hour=disk_dollars_per_hour(disk_gb, STOPPED_VOLUME_DOLLARS),
        interruptible=filters.interruptible,
        compute_capability=card.capability(str(each["id"])),
        min_bid_dollars_per_hour=reading.number(price.get("minimumBidPrice")),
        ram_gib=reading.number(price.get("minMemory")),
        cpus=reading.number(price.get("minVcpu")),
        down_mbps=filters.min_down_mbps,  # the order demands it
        verified=cloud == "secure" or None,
        place=f"{cloud} cloud, stock {stock.lower()}",
        terms={"gpuTypeIds": [each["id"]], **_terms(cloud, filters)},
    )


def _terms(cloud: str, filters: Filters) -> dict[str, Any]:
    """What the order demands: the cloud whose price was listed, and what the list does not say of hosts."""
    demands = {
        "minDownloadMbps": filters.min_down_mbps,
        "minDiskBandwidthMBps": filters.min_disk_mb_per_second,
        "countryCodes": list(filters.regions) or None,
        "interruptible": filters.interruptible or None,
        "allowedCudaVersions": cuda_from(filters.min_cuda) if filters.min_cuda else None,
    }
    return {"cloudType": cloud.upper(), **{name: value for name, value in demands.items() if value}}


def _rental(each: Mapping[str, Any], port: int) -> Rental:
    id = str(each["id"])
    word = str(each.get("desiredStatus") or "unknown")
    state = STATES.get(word, "starting")
    mapped, address = reading.part(each, "portMappings"), each.get("publicIp")
    if state == "running" and not address and not mapped:
        state = "starting"  # documented: an address comes once the pod is initialised
    if state == "stopped" and each.get("interruptible"):
        state = "interrupted"
    url, ssh = f"https://{id}-{port}.proxy.runpod.net", mapped.get("22")
    if mapped.get(str(port)) and address:
        url = f"http://{address}:{mapped[str(port)]}"
    return Rental(
        platform=NAME,
        id=id,
        label=str(each.get("name") or ""),
        state=state,
        word=word,
        url=url,
        dollars_per_hour=_dollars(each, state),
        host_id=str(each["machineId"]) if each.get("machineId") else None,
        created_at=reading.instant(each.get("createdAt") or each.get("lastStartedAt")),
        interruptible=bool(each.get("interruptible")),
        ssh=Ssh("root", str(address), int(ssh)) if ssh and address else None,
    )


def _dollars(each: Mapping[str, Any], state: State) -> float | None:
    """``costPerHr``. Whether disks are in it is not documented; a stopped pod pays its volume alone."""
    if state in ("stopped", "interrupted"):
        return disk_dollars_per_hour(reading.number(each.get("volumeInGb")) or 0, STOPPED_VOLUME_DOLLARS)
    return reading.number(each.get("costPerHr"))
