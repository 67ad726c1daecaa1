"""Clore's API. https://docs.clore.ai: one call a second, a create in five; codes come inside of 200s."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from bootstrap.choose.manifest import Needs
from bootstrap.platforms import card, reading
from bootstrap.platforms.clore import price
from bootstrap.platforms.clore.form import form
from bootstrap.platforms.clore.here import NAME
from bootstrap.platforms.clore.price import Price, Rates
from bootstrap.platforms.market import (
    Filters,
    KeyRefused,
    Market,
    MarketError,
    Offer,
    Rental,
    Ssh,
    Unreachable,
)
from bootstrap.platforms.offer import pcie_rate
from bootstrap.platforms.order import LABEL_VARIABLE, Order

CODES = {1: "database error", 2: "invalid input", 3: "bad token", 4: "bad endpoint", 5: "too many calls"}
CALL_EVERY_SECONDS = 1.0
CLOCKS_DIFFER_SECONDS = 300.0  # the marketplace's from this machine's
TRIES = 5


class Client(Market):
    """Offers are servers; a rental is an order.

    Orders have no name. The kit's own are ``known_ids``, and those whose variables name the label, where the
    API gives variables back.
    """

    name = "Clore.ai"
    address = "https://api.clore.ai"
    key_variable = "CLORE_API_KEY"
    _rates: Rates | None = None

    def auth(self, key: str) -> Mapping[str, str]:
        return {"auth": key}

    def ask(self, method: str, path: str, body: Any = None) -> Mapping[str, Any]:
        """A call whose code is looked at: 5 waits and tries again, others become the error they mean."""
        for attempt in range(TRIES):
            answer = self.call(method, path, body=body)
            found: Mapping[str, Any] = answer if isinstance(answer, Mapping) else {}
            code = found.get("code")
            if not isinstance(code, int):
                raise Unreachable(f"{self.name} answers without a code", 200)
            reason = found.get("error") or CODES.get(code, "unknown")
            if code == 0:
                return found
            if code == 3:
                raise KeyRefused(f"{self.name} refuses the key (code 3)", 200)
            if code == 1:
                # An order may exist all the same.
                raise Unreachable(f"{self.name} answers code 1: {reason}", 200)
            if code != 5:
                raise MarketError(f"{self.name} answers code {code}: {reason}", 200)
            self.sleep(CALL_EVERY_SECONDS * 2**attempt)
        raise Unreachable(f"{self.name} keeps answering that there are too many calls", 429)

    def _offers(self, needs: Needs, disk_gb: int, filters: Filters) -> list[Offer]:
        servers = self._servers()
        self._rates = rates = price.rates(servers)
        wallets = self._wallets()
        found, unpriced = [], 0
        for each in servers:
            if each.get("rented"):
                continue
            prices = price.prices(each, rates, spot=filters.interruptible)
            offer = _offer(each, _payable(prices, wallets), filters.interruptible)
            if offer is not None:
                found.append(offer)
            elif not prices and price.has_price(each):
                unpriced += 1
        if unpriced:
            self.notes.append(f"{unpriced} servers have prices without a rate in dollars; they are left out")
        return found

    def _servers(self) -> list[Mapping[str, Any]]:
        return self.listed(self.ask("GET", "/v1/marketplace"), "servers")

    def _wallets(self) -> set[str]:
        """The currencies that the account holds; empty when that is not known."""
        try:
            found = self.listed(self.ask("GET", "/v1/wallets"), "wallets")
        except KeyRefused:
            raise
        except MarketError:
            return set()
        return {str(each.get("name")) for each in found if (reading.number(each.get("balance")) or 0) > 0}

    def _order(self, offer: Offer, order: Order) -> str | None:
        body = {**form(order).body, "renting_server": int(offer.id), **offer.terms}
        if offer.interruptible:
            del body["required_price"]  # a bid says the price
        answer = self.ask("POST", "/v1/create_order", body)
        id = answer.get("order_id") or answer.get("id")  # the usual answer names none
        return str(id) if id else None

    def _made(self, rental: Rental, offer: Offer, order: Order) -> bool:
        """By the server's number, and by the label where the API gives variables back."""
        return rental.host_id == offer.id and rental.label in ("", order.label)

    def _all(self, port: int) -> list[Rental]:
        orders = [
            each
            for each in self.listed(self.ask("GET", "/v1/my_orders"), "orders")
            if not each.get("expired") and each.get("id") is not None
        ]
        rates = self._known_rates(orders)
        return [self._named(_rental(each, rates)) for each in orders]

    def _named(self, rental: Rental) -> Rental:
        """An order whose answer was lost has its label back: a server has one renter at a time."""
        if rental.label or rental.id in self.known_ids:
            return rental
        for each in self.pending:
            since = each.ordered_at - CLOCKS_DIFFER_SECONDS
            if each.host_id == rental.host_id and rental.created_at and rental.created_at >= since:
                return replace(rental, label=each.label)
        return rental

    def _known_rates(self, orders: list[Mapping[str, Any]]) -> Rates:
        """The market's list is long: it is asked for once, and only when an order pays in coins."""
        coins = any(each.get("currency") not in (None, price.DOLLARS) for each in orders)
        if self._rates is None and coins:
            try:
                self._rates = price.rates(self._servers())
            except MarketError:
                self._rates = None  # the orders are shown without a price
        return self._rates or {price.DOLLARS: 1.0}

    def _destroy(self, id: str) -> None:
        try:
            self.ask("POST", "/v1/cancel_order", {"id": int(id)})
        except MarketError:
            # Its code does not say why; an order that is no longer listed is ended.
            if any(each.id == id for each in self._all(0)):
                raise


def _payable(prices: list[Price], wallets: set[str]) -> Price | None:
    """The cheapest in a currency that the account holds; the cheapest at all where none is held."""
    held = [each for each in prices if each.currency in wallets]
    return next(iter(held or prices), None)


def _offer(each: Mapping[str, Any], paid: Price | None, spot: bool) -> Offer | None:
    """None for a server without what every offer has."""
    specs = reading.part(each, "specs")
    net = reading.part(specs, "net")
    named, vram_gib = re.match(r"(\d+)x (.+)", str(specs.get("gpu", ""))), reading.number(specs.get("gpuram"))
    if named is None or paid is None or not vram_gib or each.get("id") is None:
        return None
    terms: dict[str, Any] = {"currency": paid.currency, "required_price": paid.amount}
    if spot:
        terms = {"type": "spot", "currency": paid.currency, "spotprice": paid.amount}
    disk = re.search(r"([\d.]+)\s*GB", str(specs.get("disk", "")))
    generation, lanes = reading.number(specs.get("pcie_rev")), reading.number(specs.get("pcie_width"))
    cuda = re.match(r"\d+\.\d+", str(each.get("cuda_version") or ""))
    return Offer(
        platform=NAME,
        id=str(each["id"]),
        gpu=re.sub(r"^NVIDIA (GeForce )?", "", named[2]),
        gpus=int(named[1]),
        vram_gib=vram_gib,
        dollars_per_hour=paid.dollars_per_hour,
        listed_dollars_per_hour=paid.listed_dollars_per_hour,
        interruptible=spot,
        compute_capability=card.capability(named[2]),
        min_bid_dollars_per_hour=paid.listed_dollars_per_hour if spot else None,
        terms=terms,
        ram_gib=reading.number(specs.get("ram")),
        gpu_share=1.0,  # servers are rented whole
        disk_gb=float(disk[1]) if disk else None,
        disk_mb_per_second=reading.number(specs.get("disk_speed")),
        down_mbps=reading.number(net.get("down")),
        up_mbps=reading.number(net.get("up")),
        pcie_gb_per_second=pcie_rate(generation, lanes),
        pcie_gen=int(generation) if generation else None,
        pcie_lanes=int(lanes) if lanes else None,
        cuda=float(cuda[0]) if cuda else None,
        reliability=reading.number(each.get("reliability")),
        place=net.get("cc"),
        region=net.get("cc"),
        host_id=str(each["id"]),
    )


def _rental(each: Mapping[str, Any], rates: Rates) -> Rental:
    public = each.get("http_pub")
    online = bool(each.get("online"))
    variables = each.get("env")
    label = variables.get(LABEL_VARIABLE) if isinstance(variables, Mapping) else None
    return Rental(
        platform=NAME,
        id=str(each["id"]),
        label=str(label or ""),
        state="running" if online else "starting",
        word="online" if online else "starting",
        url=f"https://{public}" if public else None,
        dollars_per_hour=price.charged(each, rates),
        host_id=str(each["si"]) if each.get("si") is not None else None,
        created_at=reading.instant(each.get("ct")),
        interruptible=bool(each.get("spot")),
        ssh=_ssh(each),
    )


def _ssh(each: Mapping[str, Any]) -> Ssh | None:
    """``tcp_ports`` are "inside:outside" at the first ``pub_cluster``."""
    hosts, ports = each.get("pub_cluster") or [], each.get("tcp_ports") or []
    for port in ports:
        inside, _, outside = str(port).partition(":")
        if inside == "22" and outside.isdecimal() and hosts:
            return Ssh("root", str(hosts[0]), int(outside))
    return None
