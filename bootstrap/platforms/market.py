"""Renting by API: what the client of every marketplace offers."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from typing import ClassVar

from bootstrap.choose.manifest import Needs
from bootstrap.choose.prices import USABLE_SHARE
from bootstrap.platforms.api import Api, Busy, KeyRefused, MarketError, Unreachable
from bootstrap.platforms.offer import Filters, Offer
from bootstrap.platforms.order import LABEL_PREFIX, Order
from bootstrap.platforms.refusal import HostExcluded, NotOffered, TooDear, UnknownRental, Unsettled
from bootstrap.platforms.rental import Pending, Rental, Ssh
from bootstrap.torch_build import builds

__all__ = [
    "Filters",
    "HostExcluded",
    "KeyRefused",
    "Market",
    "MarketError",
    "NotOffered",
    "Offer",
    "Pending",
    "Rental",
    "Ssh",
    "TooDear",
    "UnknownRental",
    "Unreachable",
    "Unsettled",
]

# An order that was taken may show in the list only after a while.
LOOKS = 6
LOOK_EVERY_SECONDS = 5.0
OLDEST_CARD = 5.0  # no torch of the kit runs on an older one, nor on another maker's
DEFAULTS = Filters()
# Prices are rounded, and currencies move between the list and the order.
PRICE_SLACK = 1.02


class Market(Api, ABC):
    """A marketplace's API; each ``market.py`` has a ``Client``, which fills in what begins with ``_``.

    Only the kit's own boxes are seen: those whose label begins with ``LABEL_PREFIX``, and ``known_ids``: what
    the kit's own records call rented. ``pending`` are the orders that nobody answered: where rentals have no
    label, they are found by these. MarketError for everything that a person can act on.
    """

    address: ClassVar[str]
    key_variable: ClassVar[str]  # where the user's environment holds the account's key

    def __init__(
        self,
        key: str,
        address: str | None = None,
        sleep: Callable[[float], None] = time.sleep,
        known_ids: Collection[str] = (),
        pending: Collection[Pending] = (),
    ) -> None:
        super().__init__(address or self.address, self.auth(key), sleep)
        self.known_ids = set(known_ids)
        self.pending = tuple(pending)
        self.notes: list[str] = []  # what the last ``offers`` left out, for people

    @abstractmethod
    def auth(self, key: str) -> Mapping[str, str]:
        """The header that carries the key."""

    @abstractmethod
    def _offers(self, needs: Needs, disk_gb: int, filters: Filters) -> list[Offer]:
        """What can be rented now. What the API cannot filter, ``offers`` does."""

    @abstractmethod
    def _order(self, offer: Offer, order: Order) -> str | None:
        """Send the order once. Its id when the answer has one; MarketError when it is refused or lost."""

    @abstractmethod
    def _all(self, port: int) -> list[Rental]:
        """Every rental of the account, of other purposes, too."""

    @abstractmethod
    def _destroy(self, id: str) -> None:
        """End it. MarketError with status 404 when it is not there."""

    def _stop(self, id: str) -> None:
        raise NotOffered(f"{self.name} cannot stop a box and keep its disk", fix="destroy it instead")

    def _resume(self, id: str) -> None:
        raise NotOffered(f"{self.name} cannot start a stopped box again", fix="rent another")

    def _logs(self, id: str) -> str:
        raise NotOffered(
            f"{self.name}'s API gives no logs", fix="read them on the marketplace's site, or by ssh"
        )

    def _made(self, rental: Rental, offer: Offer, order: Order) -> bool:
        """Did this order rent it? By its label, which no other order has."""
        return rental.label == order.label

    def offers(self, needs: Needs, disk_gb: int, filters: Filters = DEFAULTS) -> list[Offer]:
        """What can be rented now, suffices for ``needs``, and passes ``filters``."""
        self.notes = []
        return [
            offer
            for offer in self._offers(needs, disk_gb, filters)
            if filters.passes(offer)
            and _suffices(offer, needs)
            and (offer.cuda is None or offer.cuda >= (filters.min_cuda or _least_cuda(offer)))
            and (offer.disk_gb is None or offer.disk_gb >= disk_gb)
        ]

    def create(self, offer: Offer, order: Order, filters: Filters = DEFAULTS) -> Rental:
        """Rent it. Whatever the answer is, the rental is returned: it is found again by its label.

        MarketError when nothing was rented, Unsettled when that is not known. TooDear or HostExcluded when it
        is not what was listed: it is ended before that is raised.
        """
        id = self._created(offer, order)
        self.known_ids.add(id)
        try:
            rental = self.find(id, order.port)
        except MarketError:
            # It is rented all the same; what it costs is looked at again while it is watched.
            rental = Rental(offer.platform, id, order.label, "starting", "created")
        self.check(rental, offer, filters)
        return rental

    def check(self, rental: Rental, offer: Offer, filters: Filters = DEFAULTS) -> None:
        """End what costs more than was listed, or stands on an excluded host: TooDear, HostExcluded."""
        dollars, limit = rental.dollars_per_hour, offer.dollars_per_hour * PRICE_SLACK
        if filters.max_dollars_per_hour is not None:
            limit = min(limit, filters.max_dollars_per_hour)
        if dollars is not None and dollars > limit:
            why = f"is charged ${dollars:.3f} an hour, and the offer was ${offer.dollars_per_hour:.3f}"
            raise TooDear(rental, why, self._gone(rental.id))
        if rental.host_id is not None and rental.host_id in filters.excluded_hosts:
            raise HostExcluded(rental, f"stands on the excluded host {rental.host_id}", self._gone(rental.id))

    def rentals(self, port: int = 8000) -> list[Rental]:
        """Everything of this account that the kit started and that is not ended."""
        return [each for each in self._all(port) if self._own(each) and each.state != "ended"]

    def find(self, id: str, port: int = 8000) -> Rental:
        """The kit's rental with this id. UnknownRental when there is none."""
        for each in self.rentals(port):
            if each.id == id:
                return each
        raise UnknownRental(self.name, id)

    def destroy(self, id: str) -> None:
        """End the rental, its disk and its costs.

        UnknownRental for an id that the kit never rented; one that it did rent may be gone already.
        """
        if id not in self.known_ids:
            self.known_ids.add(self.find(id).id)
        try:
            self._destroy(id)
        except MarketError as error:
            if error.status != 404:
                raise

    def stop(self, id: str) -> None:
        """Stop it and keep its disk, which goes on costing. UnknownRental, or NotOffered."""
        self._stop(self.find(id).id)

    def resume(self, id: str) -> None:
        """Start a stopped one again. UnknownRental, or NotOffered."""
        self._resume(self.find(id).id)

    def logs(self, id: str) -> str:
        """What its container printed, as far as the API gives it. UnknownRental, or NotOffered."""
        return self._logs(self.find(id).id)

    def ssh(self, id: str) -> Ssh | None:
        """Where it is reached by ssh; None while that is not known. UnknownRental."""
        return self.find(id).ssh

    def _own(self, rental: Rental) -> bool:
        return rental.label.startswith(LABEL_PREFIX) or rental.id in self.known_ids

    def _created(self, offer: Offer, order: Order) -> str:
        """The id of what was rented: an order that was refused or lost, or named none, may have worked."""
        before = {each.id for each in self._all(order.port)}
        refused: MarketError | None = None
        try:
            id = self._order(offer, order)
            if id is not None:
                return id
        except MarketError as error:
            refused = error
        lost = isinstance(refused, Unreachable) and not isinstance(refused, Busy)
        found = self._found(offer, order, before, looks=LOOKS if lost or refused is None else 1)
        if found is not None:
            return found
        if lost:
            raise Unsettled(self.name, order.label) from refused
        raise refused or MarketError(f"{self.name} rented nothing and named no rental", 200)

    def _found(self, offer: Offer, order: Order, before: Collection[str], looks: int) -> str | None:
        """The id of the rental that the order made; None when there is none. Unsettled when nobody knows."""
        for look in range(looks):
            self.sleep(LOOK_EVERY_SECONDS)
            try:
                now = self._all(order.port)
            except MarketError as error:
                if look == looks - 1:
                    raise Unsettled(self.name, order.label) from error
                continue
            for each in now:
                if each.id not in before and self._made(each, offer, order):
                    return each.id
        return None

    def _gone(self, id: str) -> bool:
        """End it, and say whether that worked."""
        try:
            self.destroy(id)
        except MarketError:
            return False
        return True


def _least_cuda(offer: Offer) -> float:
    """What the host must run so that some torch of the kit runs on its card."""
    card = offer.compute_capability
    return float(builds.written(builds.least_cuda(builds.version(card) if card else None)))


def _suffices(offer: Offer, needs: Needs) -> bool:
    capability, ram = offer.compute_capability, offer.ram_gib
    return (
        offer.vram_gib * USABLE_SHARE >= needs.vram_gib
        and offer.gpus >= needs.gpus
        and (ram is None or ram >= needs.ram_gib)
        and (capability is None or capability >= (needs.compute_capability or OLDEST_CARD))
    )
