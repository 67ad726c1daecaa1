"""Clore's API. https://docs.clore.ai: one call a second, a create in five; codes come inside of 200s."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from bootstrap.choose.manifest import Needs
from bootstrap.choose.prices import USABLE_SHARE
from bootstrap.errors import KitError
from bootstrap.platforms.clore.form import form
from bootstrap.platforms.clore.here import NAME
from bootstrap.platforms.market import Market, MarketError, Offer, Rental
from bootstrap.platforms.order import CUDA, Order

CODES = {1: "database error", 2: "invalid input", 3: "bad token", 4: "bad endpoint", 5: "too many calls"}
CREATE_EVERY_SECONDS = 5.0
CALL_EVERY_SECONDS = 1.0


class Client(Market):
    """Offers are servers; a rental is an order. Orders have no name: the server's number identifies one."""

    name = "Clore.ai"
    address = "https://api.clore.ai"
    key_variable = "CLORE_API_KEY"

    def auth(self, key: str) -> Mapping[str, str]:
        return {"auth": key}

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """A call whose code is looked at: 5 waits and tries again, others become the error they mean."""
        for attempt in range(5):
            answer = self.call(method, path, body=body)
            code = answer.get("code")
            if code == 0:
                return answer
            if code == 3:
                raise KitError(
                    f"{self.name} refuses the key (code 3)", fix="make an API key on clore.ai and export it"
                )
            if code != 5:
                reason = answer.get("error") or CODES.get(code, "unknown")
                raise MarketError(f"{self.name} answers code {code}: {reason}", 200)
            self.sleep(CALL_EVERY_SECONDS * 2**attempt)
        raise MarketError(f"{self.name} keeps answering that there are too many calls", 429)

    def offers(self, needs: Needs, disk_gb: int) -> list[Offer]:
        servers = self.ask("GET", "/v1/marketplace")["servers"]
        found = [self._offer(each) for each in servers if not each.get("rented")]
        return [
            offer
            for offer in found
            if offer is not None
            and offer.vram_gib * USABLE_SHARE >= needs.vram_gib
            and (offer.ram_gib or 0) >= needs.ram_gib
            and (offer.disk_gb is None or offer.disk_gb >= disk_gb)
            and (offer.cuda is None or offer.cuda >= CUDA)
        ]

    def _offer(self, each: Mapping[str, Any]) -> Offer | None:
        specs = each.get("specs") or {}
        named = re.match(r"(\d+)x (.+)", str(specs.get("gpu", "")))
        dollars = ((each.get("price") or {}).get("usd") or {}).get("on_demand_usd")
        if named is None or not dollars or not specs.get("gpuram"):
            return None
        disk = re.search(r"([\d.]+)\s*GB", str(specs.get("disk", "")))
        cuda = each.get("cuda_version")
        return Offer(
            platform=NAME,
            id=str(each["id"]),
            gpu=named[2],
            gpus=int(named[1]),
            vram_gib=float(specs["gpuram"]),
            dollars_per_hour=float(dollars) / 24,  # Clore's prices are per day
            ram_gib=specs.get("ram"),
            disk_gb=float(disk[1]) if disk else None,
            down_mbps=(specs.get("net") or {}).get("down"),
            cuda=float(cuda) if cuda else None,
            reliability=each.get("reliability"),
            place=(specs.get("net") or {}).get("cc"),
        )

    def create(self, offer: Offer, order: Order) -> Rental:
        body = {**form(order).body, "renting_server": int(offer.id)}
        refused: MarketError | None = None
        try:
            self.ask("POST", "/v1/create_order", body)
        except MarketError as error:
            refused = error
        # The answer names no order, and one may exist even after an error: only my_orders shows it.
        for _ in range(6):
            self.sleep(CREATE_EVERY_SECONDS)
            made = [each for each in self._orders() if str(each.get("si")) == offer.id]
            if made:
                return self._rental(made[-1], offer.dollars_per_hour)
            if refused is not None:
                raise refused
        raise MarketError(f"{self.name} took the order for server {offer.id}, but it does not appear", 200)

    def _orders(self) -> list[Mapping[str, Any]]:
        orders: list[Mapping[str, Any]] = self.ask("GET", "/v1/my_orders")["orders"]
        return [each for each in orders if not each.get("expired")]

    def rentals(self, port: int = 8000) -> list[Rental]:
        return [self._rental(each) for each in self._orders() if str(each.get("http_port")) == str(port)]

    def _rental(self, each: Mapping[str, Any], dollars: float | None = None) -> Rental:
        host = each.get("http_pub")
        state = "online" if each.get("online") else "starting"
        return Rental(NAME, str(each["id"]), "kinokit", state, f"https://{host}" if host else None, dollars)

    def destroy(self, id: str) -> None:
        try:
            self.ask("POST", "/v1/cancel_order", {"id": int(id)})
        except MarketError:
            if any(str(each["id"]) == id for each in self._orders()):
                raise
