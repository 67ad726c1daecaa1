"""The user's accounts and this machine's memory of them: keys are read from the environment, here alone."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from bootstrap.errors import KitError
from bootstrap.platforms import registry
from bootstrap.platforms.market import Market, MarketError, Rental, UnknownRental
from bootstrap.rent import state_file
from bootstrap.rent.blacklist import Blacklist
from bootstrap.rent.ledger import Entry, Ledger
from bootstrap.rent.renting import Desk
from bootstrap.rent.signals import Signals

# As Amazon's own tools name them, and everybody who speaks S3.
STORAGE_KEYS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
)

Say = Callable[[str], None]


def ledger(say: Say) -> Ledger:
    return Ledger(state_file.folder(os.environ), say)


def blacklist(say: Say) -> Blacklist:
    return Blacklist(state_file.folder(os.environ), say)


def has_key(platform: str) -> bool:
    return bool(os.environ.get(registry.market(platform).key_variable))


def market(platform: str, say: Say = lambda _: None) -> Market:
    """The client of a marketplace; it knows what was rented from here. KitError when its key is not set."""
    client = registry.market(platform)
    variable = client.key_variable
    key = os.environ.get(variable)
    if not key:
        raise KitError(
            f"{variable} is not set", fix=f"make a key on the marketplace's site, then export {variable}=…"
        )
    records = ledger(say)
    return client(
        key,
        os.environ.get(f"{variable}_ADDRESS"),
        known_ids=records.known_ids(platform),
        pending=records.pending(platform),
    )


def desk(platform: str, say: Say, signals: Signals) -> Desk:
    keys = {name: os.environ[name] for name in STORAGE_KEYS if os.environ.get(name)}
    memory = ledger(say), blacklist(say)
    return Desk(platform, market(platform, say), *memory, say, signals, storage_keys=keys)


@dataclass(frozen=True)
class Found:
    """A box of the kit's, at the marketplace that lists it."""

    market: Market
    rental: Rental
    entry: Entry | None  # None: it was rented from another machine

    @property
    def port(self) -> int:
        return self.entry.port if self.entry else 8000


def find(id: str, platform: str | None, say: Say) -> Found:
    """The box with this id or label, at the named marketplace or at any whose key is set.

    UnknownRental when there is none. KitError when a marketplace that could have it does not answer.
    """
    known = ledger(say)
    entry = _remembered(known, id, platform)
    names = [platform] if platform else [entry.platform] if entry else _with_keys()
    for name in names:
        client = market(name, say)
        for rental in client.rentals(entry.port if entry else 8000):
            if rental.id == id or rental.label == id or (entry and rental.id == entry.id):
                return Found(client, rental, entry or known.find(name, rental.id))
    raise UnknownRental(" or ".join(registry.market(name).name for name in names), id)


def _remembered(known: Ledger, id: str, platform: str | None) -> Entry | None:
    found = [
        each for each in known.entries() if id in (each.id, each.label) and platform in (None, each.platform)
    ]
    return found[-1] if found else None


def _with_keys() -> list[str]:
    names = [name for name in registry.named("market") if has_key(name)]
    if not names:
        variables = ", ".join(registry.market(name).key_variable for name in registry.named("market"))
        raise KitError("no marketplace's key is set", fix=f"export one of {variables}")
    return names


def rentals(platform: str, say: Say) -> list[Rental] | MarketError:
    """What it lists, or why it does not."""
    try:
        return market(platform, say).rentals()
    except MarketError as error:
        return error
