"""Why a marketplace's client does not do what it is asked, beside what the API itself answers."""

from __future__ import annotations

from bootstrap.platforms.api import MarketError
from bootstrap.platforms.rental import Rental


class UnknownRental(MarketError):
    """No rental of the kit has this id: it never was, is gone, or belongs to another purpose."""

    def __init__(self, name: str, id: str) -> None:
        fix = "see what is rented with `kinokit rent list`"
        super().__init__(f"{name} has no rental {id} of the kit", 404, fix=fix)


class NotOffered(MarketError):
    """The marketplace's API has no such call."""


class Unsettled(MarketError):
    """An order was sent, and whether it rented a box cannot be found out now. ``label`` would be its name."""

    def __init__(self, name: str, label: str) -> None:
        look = f"look for {label} with `kinokit rent list` and on the marketplace's site"
        super().__init__(
            f"{name} does not say whether the order {label} rented a box",
            fix=f"{look}: if it is there, it costs money",
        )
        self.label = label


class Refused(MarketError):
    """A box was rented and is not wanted. ``ended``: was its end confirmed? If not, it still costs."""

    def __init__(self, rental: Rental, why: str, ended: bool) -> None:
        still = f"STILL RENTED, {_price(rental)}: kinokit rent stop {rental.id} --platform {rental.platform}"
        super().__init__(
            f"rental {rental.id} {why}; {'it was ended at once' if ended else still}",
            fix="take another offer" if ended else "end it now, here or on the marketplace's site",
        )
        self.rental = rental
        self.ended = ended


class TooDear(Refused):
    """What is charged is more than what was listed, or than the limit."""


class HostExcluded(Refused):
    """The marketplace chose a host that was excluded."""


def _price(rental: Rental) -> str:
    return f"${rental.dollars_per_hour:.2f}/h" if rental.dollars_per_hour else "at a price that is not known"
