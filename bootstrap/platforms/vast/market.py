"""Vast.ai's API. https://docs.vast.ai/api-reference"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import httpx

from bootstrap.choose.manifest import Needs
from bootstrap.platforms import card, reading
from bootstrap.platforms.market import Filters, Market, MarketError, Offer, Rental, Ssh, Unreachable
from bootstrap.platforms.offer import disk_dollars_per_hour, pcie_rate
from bootstrap.platforms.order import CUDA, Order
from bootstrap.platforms.rental import State
from bootstrap.platforms.vast.form import form
from bootstrap.platforms.vast.here import NAME

OFFERS = 100
DIRECT_PORTS = 2  # the service's, and ssh
# A bid at the least price is the first to be outbid.
BID_ABOVE_LEAST = 1.1
LOG_LINES = 1000
LOG_LOOKS = 10  # a log is written to a store first, and is there after some seconds
NUMBERS = (
    *("compute_cap", "cuda_max_good", "disk_space", "disk_bw", "inet_down", "inet_up", "pcie_bw", "pci_gen"),
    *("gpu_lanes", "direct_port_count", "reliability", "reliability2"),
)
# ``actual_status`` -> what it means. exited, unknown and offline never become running again by themselves.
STATES: Mapping[str, State] = {
    "running": "running",
    "stopped": "stopped",
    "exited": "stopped",
    "frozen": "stopped",
    "offline": "interrupted",
    "unknown": "interrupted",
}


class Client(Market):
    """Offers are asks of hosts; a rental is an instance."""

    name = "Vast.ai"
    address = "https://console.vast.ai"
    key_variable = "VAST_API_KEY"

    def auth(self, key: str) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {key}"}

    def _offers(self, needs: Needs, disk_gb: int, filters: Filters) -> list[Offer]:
        wanted = _query(needs, disk_gb, filters)
        try:
            found = self.call("POST", "/api/v0/bundles/", body=wanted, repeat=True)
        except MarketError as error:
            if error.status not in (404, 405):
                raise
            # Documented beside POST: the same question as a JSON text in ``q``.
            found = self.call("GET", "/api/v0/bundles/", query={"q": json.dumps(wanted)})
        offers = [_offer(each, disk_gb, filters.interruptible) for each in self.listed(found, "offers")]
        return [each for each in offers if each is not None]

    def _order(self, offer: Offer, order: Order) -> str | None:
        body = {**form(order).body, **offer.terms}
        answer = self.call("PUT", f"/api/v0/asks/{offer.id}/", body=body)
        return self._done(answer).get("new_contract")

    def _done(self, answer: Any) -> Mapping[str, Any]:
        """Vast refuses with 200 and ``success: false``, too. Ids are made text here."""
        if not isinstance(answer, Mapping):
            return {}
        if answer.get("success") is False:
            raise MarketError(f"{self.name} refuses: {answer.get('msg') or answer.get('error')}", 200)
        return {key: str(value) if key == "new_contract" else value for key, value in answer.items()}

    def _all(self, port: int) -> list[Rental]:
        found: list[Mapping[str, Any]] = []
        token = None
        while True:
            query = {"limit": "25", **({"after_token": token} if token else {})}
            try:
                page = self.call("GET", "/api/v1/instances/", query=query)
            except MarketError as error:
                if error.status != 404:
                    raise
                # The older list, whole: it is what accounts had before the one in pages.
                page = self.call("GET", "/api/v0/instances/", query={"owner": "me"})
            found += self.listed(page, "instances")
            token = page.get("next_token")
            if not token:
                return [_rental(each, port) for each in found if each.get("id") is not None]

    def _destroy(self, id: str) -> None:
        self._done(self.call("DELETE", f"/api/v0/instances/{id}/"))

    def _stop(self, id: str) -> None:
        self._done(self.call("PUT", f"/api/v0/instances/{id}/", body={"state": "stopped"}, repeat=True))

    def _resume(self, id: str) -> None:
        self._done(self.call("PUT", f"/api/v0/instances/{id}/", body={"state": "running"}, repeat=True))

    def _logs(self, id: str) -> str:
        """The log is uploaded to a store; its address needs no key, and gets none."""
        path = f"/api/v0/instances/request_logs/{id}/"
        answer = self._done(self.call("PUT", path, body={"tail": str(LOG_LINES)}, repeat=True))
        for _ in range(LOG_LOOKS):
            try:
                found = httpx.get(str(answer.get("result_url")), timeout=self.timeout_seconds)
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise Unreachable(
                    f"{self.name}'s log store does not answer: {type(error).__name__}"
                ) from error
            if found.is_success:
                return found.text
            self.sleep(1.0)
        raise Unreachable(f"{self.name} has not written the log of {id}", found.status_code)


def _query(needs: Needs, disk_gb: int, filters: Filters) -> dict[str, Any]:
    """The question of ``POST /api/v0/bundles``. Null values of an offer do not pass a filter there."""
    least = {
        "gpu_ram": needs.vram_gib * 1024,
        "cpu_ram": needs.ram_gib * 1024,  # of the whole host: the offer's share is looked at afterwards
        "disk_space": disk_gb,
        "direct_port_count": DIRECT_PORTS,
        "cuda_max_good": CUDA if filters.min_cuda is None else filters.min_cuda,
        "compute_cap": round(needs.compute_capability * 100) if needs.compute_capability else None,
        "inet_down": filters.min_down_mbps,  # Mbit/s, as the search page has it; the API's page says MB/s
        "pcie_bw": filters.min_pcie_gb_per_second,
        "disk_bw": filters.min_disk_mb_per_second,
        "reliability": filters.min_reliability,
    }
    wanted: dict[str, Any] = {name: {"gte": value} for name, value in least.items() if value is not None}
    wanted |= {
        "rentable": {"eq": True},
        "gpu_arch": {"eq": "nvidia"},
        "type": "bid" if filters.interruptible else "ondemand",
        "allocated_storage": disk_gb,  # so that dph_total has the price of this disk in it
        "order": [["dph_total", "asc"]],
        "limit": OFFERS,
    }
    if filters.verified:
        wanted["verified"] = {"eq": True}
    if filters.gpus is not None:
        wanted["num_gpus"] = {"eq": filters.gpus}
    if filters.regions:
        wanted["geolocation"] = {"in": list(filters.regions)}
    return wanted


def _offer(each: Mapping[str, Any], disk_gb: int, interruptible: bool) -> Offer | None:
    """None for one that lacks what every offer has."""
    try:
        ram = reading.number(each.get("cpu_ram"))
        share = reading.number(each.get("gpu_frac"))
        disk = disk_dollars_per_hour(disk_gb, reading.number(each.get("storage_cost")) or 0)
        listed = float(each["dph_total"])
        least = reading.number(each.get("min_bid"))
        bid = round((least or listed) * BID_ABOVE_LEAST, 4)
        return Offer(
            platform=NAME,
            id=str(each["id"]),
            gpu=str(each["gpu_name"]),
            gpus=int(each["num_gpus"]),
            vram_gib=float(each["gpu_ram"]) / 1024,
            dollars_per_hour=(bid if interruptible else _gpu_dollars(each, listed)) + disk,
            listed_dollars_per_hour=listed,
            stopped_dollars_per_hour=disk if each.get("storage_cost") else None,
            dollars_per_gb_down=reading.number(each.get("inet_down_cost")) or 0,
            dollars_per_gb_up=reading.number(each.get("inet_up_cost")) or 0,
            interruptible=interruptible,
            min_bid_dollars_per_hour=least,
            terms={"price": bid} if interruptible else {},
            ram_gib=ram / 1024 * (share or 1) if ram else None,
            cpus=reading.number(each.get("cpu_cores_effective")),
            gpu_share=share,
            **_host(each, str(each["gpu_name"])),
        )
    except (KeyError, TypeError, ValueError):
        return None


def _gpu_dollars(each: Mapping[str, Any], listed: float) -> float:
    """Without a disk: ``dph_total`` has one in it, of the size that was asked for, or of 8 GB."""
    base = reading.number(each.get("dph_base"))
    return base if base else listed - (reading.number(each.get("storage_total_cost")) or 0)


def _host(each: Mapping[str, Any], gpu: str) -> dict[str, Any]:
    """What an offer says of its machine."""
    found = {name: reading.number(each.get(name)) for name in NUMBERS}
    place, verification = each.get("geolocation"), each.get("verification")
    generation, lanes = found["pci_gen"], found["gpu_lanes"]
    return {
        "compute_capability": found["compute_cap"] / 100 if found["compute_cap"] else card.capability(gpu),
        "cuda": found["cuda_max_good"],
        "driver": each.get("driver_version"),
        "disk_gb": found["disk_space"],
        "disk_mb_per_second": found["disk_bw"],
        "down_mbps": found["inet_down"],
        "up_mbps": found["inet_up"],
        "pcie_gb_per_second": found["pcie_bw"] or pcie_rate(generation, lanes),
        "pcie_gen": int(generation) if generation else None,
        "pcie_lanes": int(lanes) if lanes else None,
        "direct_ports": int(found["direct_port_count"]) if found["direct_port_count"] else None,
        "reliability": found["reliability2"] or found["reliability"],
        "verified": verification == "verified" if verification else None,
        "place": place,
        "region": str(place)[-2:] if place and str(place)[-4:-2] == ", " else None,
        "host_id": str(each["machine_id"]) if each.get("machine_id") is not None else None,
    }


def _rental(each: Mapping[str, Any], port: int) -> Rental:
    word = str(each.get("actual_status") or each.get("cur_state") or "unknown")
    state = STATES.get(word, "starting") if each.get("actual_status") else "starting"
    wanted = str(each.get("intended_status") or "running")
    if state == "stopped" and wanted == "running" and each.get("is_bid"):
        state = "interrupted"  # nobody stopped it but a higher bid
    dollars = each.get("storage_total_cost") if state == "stopped" else each.get("dph_total")
    address = each.get("public_ipaddr")
    mapped = _mapped(each, port)
    ssh = _mapped(each, 22)
    return Rental(
        platform=NAME,
        id=str(each["id"]),
        label=str(each.get("label") or ""),
        state=state,
        word=word,
        url=f"http://{_in_url(str(address))}:{mapped}" if mapped and address else None,
        dollars_per_hour=reading.number(dollars),
        host_id=str(each["machine_id"]) if each.get("machine_id") is not None else None,
        created_at=reading.instant(each.get("start_date")),
        interruptible=bool(each.get("is_bid")),
        ssh=Ssh("root", str(address), ssh) if ssh and address else _proxied(each),
    )


def _mapped(each: Mapping[str, Any], port: int) -> int | None:
    """The outside number of a port."""
    try:
        return int(each["ports"][f"{port}/tcp"][0]["HostPort"])
    except (KeyError, IndexError, TypeError, ValueError):
        return None


def _proxied(each: Mapping[str, Any]) -> Ssh | None:
    """Vast's own way in, where port 22 is not mapped."""
    host, port = each.get("ssh_host"), each.get("ssh_port")
    return Ssh("root", str(host), int(port)) if host and port else None


def _in_url(address: str) -> str:
    return f"[{address.strip()}]" if ":" in address else address.strip()
