"""Renting by API: what the client of every marketplace offers, and its values."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import httpx

from bootstrap.choose.manifest import Needs
from bootstrap.errors import KitError
from bootstrap.platforms.order import Order

# Clore's API stands behind a proxy that turns unknown clients away.
USER_AGENT = "Mozilla/5.0 (compatible; kinokit)"
TRIES = 5


@dataclass(frozen=True)
class Offer:
    """A machine that can be rented now. ``None``: the marketplace does not say."""

    platform: str
    id: str
    gpu: str
    gpus: int
    vram_gib: float  # of one GPU
    dollars_per_hour: float
    compute_capability: float | None = None
    ram_gib: float | None = None
    disk_gb: float | None = None
    down_mbps: float | None = None
    dollars_per_gb_down: float = 0.0
    cuda: float | None = None
    reliability: float | None = None
    place: str | None = None


@dataclass(frozen=True)
class Rental:
    """A box that is being paid for."""

    platform: str
    id: str
    label: str
    state: str  # the marketplace's own word
    url: str | None  # of the service's port, None until the marketplace knows it
    dollars_per_hour: float | None = None


class Market(ABC):
    """A marketplace's API; each ``market.py`` has one, called ``Client``.

    KitError for everything that a person can act on; a key never appears in one.
    """

    name: ClassVar[str]  # as people write it
    address: ClassVar[str]
    key_variable: ClassVar[str]  # where the user's environment holds the account's key

    def __init__(
        self, key: str, address: str | None = None, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.base_url = address or self.address
        self.headers = {"User-Agent": USER_AGENT, "Accept": "application/json", **self.auth(key)}
        self.sleep = sleep

    @abstractmethod
    def auth(self, key: str) -> Mapping[str, str]:
        """The header that carries the key."""

    @abstractmethod
    def offers(self, needs: Needs, disk_gb: int) -> list[Offer]:
        """What can be rented now and would suffice."""

    @abstractmethod
    def create(self, offer: Offer, order: Order) -> Rental:
        """Rent it. Returns the rental even when the answer does not name it; raises when there is none."""

    @abstractmethod
    def rentals(self, port: int = 8000) -> list[Rental]:
        """Everything of this account that the kit started."""

    @abstractmethod
    def destroy(self, id: str) -> None:
        """End the rental and its costs; an id that is gone already is no error."""

    def made_by(self, send: Callable[[], str], order: Order) -> str:
        """The id of the rental that ``send`` orders, which it takes from the answer.

        A refusal or an answer without an id may still have rented a box: the one that was not there before.
        """
        before = {each.id for each in self.rentals(order.port)}
        try:
            return send()
        except (MarketError, KeyError, TypeError) as error:
            made = [each.id for each in self.rentals(order.port) if each.id not in before]
            if made:
                return made[-1]
            if isinstance(error, MarketError):
                raise
            raise MarketError(f"{self.name} rented nothing and named no rental", 200) from error

    def call(
        self, method: str, path: str, *, body: Any = None, query: Mapping[str, str] | None = None
    ) -> Any:
        """One call with patience: 429 and 5xx are tried again after ``Retry-After`` or 1, 2, 4 … seconds.

        A create that fails with 5xx is not tried again: it may have worked, and two boxes cost double.
        """
        for attempt in range(TRIES):
            try:
                with httpx.Client(base_url=self.base_url, headers=self.headers, timeout=60) as http:
                    answer = http.request(method, path, json=body, params=query)
            except httpx.TransportError as error:
                raise KitError(
                    f"{self.name} does not answer: {type(error).__name__}",
                    fix="check your network and try again",
                ) from error
            again = answer.status_code == 429 or (answer.status_code >= 500 and method == "GET")
            if not again or attempt == TRIES - 1:
                return self._content(answer)
            self.sleep(float(answer.headers.get("Retry-After") or 2**attempt))
        raise AssertionError("the loop returns")

    def _content(self, answer: httpx.Response) -> Any:
        if answer.status_code in (401, 403):
            raise KitError(
                f"{self.name} refuses the key ({answer.status_code})",
                fix="make a key with the right to rent on the marketplace's site, and export it again",
            )
        if answer.status_code >= 400:
            raise MarketError(
                f"{self.name} answers {answer.status_code}: {answer.text[:300]}", answer.status_code
            )
        return answer.json() if answer.content else None


class MarketError(KitError):
    """The marketplace refused, with its own text."""

    def __init__(self, problem: str, status: int) -> None:
        super().__init__(problem, fix="look at the offer on the marketplace's site; another offer may work")
        self.status = status
