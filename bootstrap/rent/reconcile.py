"""The ledger beside what a marketplace lists: orphans are found by their label, and what is gone is said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bootstrap.platforms.market import Rental
from bootstrap.rent.ledger import Entry, Ledger

SETTLED_SECONDS = 900.0  # an order that shows in no list by then rented nothing


@dataclass(frozen=True)
class Box:
    """A box as both know it. One of the two may be missing."""

    entry: Entry | None
    rental: Rental | None
    note: str = ""

    @property
    def id(self) -> str:
        if self.rental is not None:
            return self.rental.id
        return (self.entry and (self.entry.id or self.entry.label)) or ""


def platform(ledger: Ledger, name: str, rentals: Sequence[Rental], now: float) -> list[Box]:
    """Bring the ledger up to date; the boxes of this marketplace that cost money, or were thought to."""
    entries = [each for each in ledger.entries() if each.platform == name]
    boxes = []
    for rental in rentals:
        known = next((each for each in reversed(entries) if _is(each, rental)), None)
        boxes.append(_listed(ledger, known, rental, now))
    seen = {box.entry.label for box in boxes if box.entry is not None}
    unseen = [entry for entry in entries if entry.is_open and entry.label not in seen]
    return [*boxes, *(_missing(ledger, entry, now) for entry in unseen)]


def _is(entry: Entry, rental: Rental) -> bool:
    return entry.id == rental.id if entry.id else bool(rental.label) and entry.label == rental.label


def _listed(ledger: Ledger, entry: Entry | None, rental: Rental, now: float) -> Box:
    if entry is None:
        return Box(None, rental, "rented from another machine")
    note = ""
    if rental.state in ("stopped", "interrupted"):
        if entry.state != "stopped":
            entry = ledger.left(_with_id(ledger, entry, rental, now).label, "stopped", now)
    elif entry.state != "rented":
        note = "found again" if entry.state == "ordered" else ""
        entry = _with_id(ledger, entry, rental, now)
    if rental.url and rental.url != entry.url:
        entry = ledger.change(entry.label, url=rental.url)
    if entry.deadline is not None and now > entry.deadline and entry.state == "rented":
        note = "past its deadline"
    return Box(entry, rental, note)


def _with_id(ledger: Ledger, entry: Entry, rental: Rental, now: float) -> Entry:
    dollars = rental.dollars_per_hour or entry.dollars_per_hour
    values = {"dollars_per_hour": dollars} if rental.state in ("starting", "running") else {}
    return ledger.rented(entry.label, rental.id, now, **values)


def _missing(ledger: Ledger, entry: Entry, now: float) -> Box:
    if entry.state == "ordered" and now - entry.ordered_at < SETTLED_SECONDS:
        return Box(entry, None, "ordered, not listed yet")
    note = "gone" if entry.id else "its order rented nothing"
    return Box(ledger.left(entry.label, "ended", now), None, note)
