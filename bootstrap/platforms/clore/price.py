"""What a server on Clore costs: in which currency, with the renter's fee, and in dollars by the API's rates.

A server's ``price.on_demand`` names an amount a day for each currency that its host takes; ``price.usd`` has
the same amounts in dollars. Clore's documents name neither: both are what public clients of the API read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from bootstrap.platforms import reading

DOLLARS = "USD-Blockchain"
# Currency -> its name in ``price.usd``; in the order in which an order pays when several would do.
CURRENCIES = {DOLLARS: "on_demand_usd", "CLORE-Blockchain": "on_demand_clore", "bitcoin": "on_demand_btc"}
# The renter's half of the marketplace's fee, on top of the listed price.
FEES = {"on_demand": 0.05, "spot": 0.0125}
Rates = Mapping[str, float]  # currency -> dollars


@dataclass(frozen=True)
class Price:
    """``amount`` a day in ``currency``, without the fee; ``dollars_per_hour`` with it."""

    currency: str
    amount: float
    listed_dollars_per_hour: float
    dollars_per_hour: float


def rates(servers: Iterable[Mapping[str, Any]]) -> Rates:
    """Dollars of each currency, from the servers that give a price in both."""
    seen: dict[str, list[float]] = {currency: [] for currency in CURRENCIES}
    for server in servers:
        amounts, dollars = _part(server, "on_demand"), _part(server, "usd")
        for currency, name in CURRENCIES.items():
            amount, worth = _number(amounts.get(currency)), _number(dollars.get(name))
            if amount and worth:
                seen[currency].append(worth / amount)
    return {DOLLARS: 1.0} | {
        currency: median(found) for currency, found in seen.items() if found and currency != DOLLARS
    }


def prices(server: Mapping[str, Any], rates: Rates, *, spot: bool) -> list[Price]:
    """One for each currency that the host takes and whose rate is known, the cheapest first."""
    kind = "spot" if spot else "on_demand"
    amounts, allowed = dict(_part(server, kind)), server.get("allowed_coins")
    if not amounts and not spot:
        # Only the sum in dollars is given: that is the amount of an order that pays dollars.
        amounts = {DOLLARS: _part(server, "usd").get(CURRENCIES[DOLLARS])}
    found = []
    for currency in CURRENCIES:
        amount, rate = _number(amounts.get(currency)), rates.get(currency)
        if amount and rate and not (isinstance(allowed, list) and allowed and currency not in allowed):
            listed = amount * rate / 24  # prices are per day
            found.append(Price(currency, amount, listed, listed * (1 + FEES[kind])))
    return sorted(found, key=lambda price: price.dollars_per_hour)


def has_price(server: Mapping[str, Any]) -> bool:
    """Does it name a price in any currency, known or not?"""
    return any(_number(amount) for part in ("on_demand", "usd") for amount in _part(server, part).values())


def charged(order: Mapping[str, Any], rates: Rates) -> float | None:
    """Dollars an hour of a running order; None when its currency's rate is not known."""
    amount, rate = _number(order.get("price")), rates.get(str(order.get("currency")))
    if not amount or not rate:
        return None
    return amount * rate / 24 * (1 + FEES["spot" if order.get("spot") else "on_demand"])


def _part(server: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return reading.part(reading.part(server, "price"), name)


def _number(value: object) -> float | None:
    found = reading.number(value)
    return found if found and found > 0 else None
