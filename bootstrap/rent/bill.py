"""What a session of renting cost: hours by price from the ledger, and the clips that came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bootstrap.rent.ledger import Entry


@dataclass(frozen=True)
class Item:
    """One box within the time that is asked about."""

    entry: Entry
    hours: float
    dollars: float
    clips: int

    @property
    def dollars_per_clip(self) -> float | None:
        return self.dollars / self.clips if self.clips else None


@dataclass(frozen=True)
class Bill:
    """Every box that ran. Disks of stopped boxes and traffic come on top: marketplaces bill them apart."""

    items: tuple[Item, ...]

    @property
    def hours(self) -> float:
        return sum(item.hours for item in self.items)

    @property
    def dollars(self) -> float:
        return sum(item.dollars for item in self.items)

    @property
    def clips(self) -> int:
        return sum(item.clips for item in self.items)

    @property
    def dollars_per_clip(self) -> float | None:
        return self.dollars / self.clips if self.clips else None


def make(entries: Sequence[Entry], now: float, since: float = 0.0) -> Bill:
    """Of the boxes that ran after ``since`` (seconds since 1970), with all of their hours."""
    ran = [
        entry
        for entry in entries
        if any((span.end is None or span.end > since) for span in entry.spans) and entry.hours(now) > 0
    ]
    return Bill(tuple(Item(entry, entry.hours(now), entry.dollars(now), len(entry.pulled)) for entry in ran))
