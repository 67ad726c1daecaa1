"""Boxes as the commands show them: one line for people, one object for programs."""

from __future__ import annotations

from typing import Any

from bootstrap.commands.rent.output import Output, moment, price
from bootstrap.errors import KitError
from bootstrap.platforms.market import Rental
from bootstrap.rent import reconcile
from bootstrap.rent.ledger import Entry
from bootstrap.rent.reconcile import Box
from bootstrap.rent.renting import Desk


def document(entry: Entry, *, links: bool) -> dict[str, Any]:
    """An entry of the ledger without its secrets; ``links`` adds the address that signs in."""
    found = entry.model_dump(mode="json", exclude={"token", "wish", "spans", "pulled"})
    found |= {name: moment(getattr(entry, name)) for name in ("ordered_at", "deadline")}
    found["pulled"] = len(entry.pulled)
    return found | ({"link": entry.link} if links else {})


def named(entry: Entry) -> str:
    """A box, its price, and when it ends."""
    until = f", until {moment(entry.deadline)}" if entry.deadline else ""
    return f"box {entry.id} on {entry.platform} ({price(entry.dollars_per_hour)}{until})"


def row(box: Box, platform: str, now: float, *, links: bool) -> dict[str, Any]:
    """What ``rent list --json`` has of a box."""
    found: dict[str, Any] = {"platform": platform, "id": box.id}
    if box.entry is not None:
        found |= document(box.entry, links=links)
        found |= {"hours": round(box.entry.hours(now), 3), "dollars": round(box.entry.dollars(now), 4)}
    if box.rental is not None:
        found |= _listed(box.rental)
    return {**found, "listed": box.rental is not None, "note": box.note}


def _listed(rental: Rental) -> dict[str, Any]:
    return {
        "label": rental.label,
        "state": rental.state,
        "url": rental.url,
        "dollars_per_hour": rental.dollars_per_hour,
    }


def line(box: Box, platform: str, now: float, *, links: bool) -> str:
    """What ``rent list`` shows of a box."""
    entry, rental = box.entry, box.rental
    state = rental.state if rental else box.note
    dollars = rental.dollars_per_hour if rental else None
    parts = [platform, box.id, (entry.label if entry else rental.label if rental else ""), state]
    if rental is not None:
        parts += [price(dollars), rental.url or "no address yet"]
    if entry is not None:
        parts.append(f"{entry.hours(now):.1f} h, ${entry.dollars(now):.2f}")
        if entry.deadline and entry.is_open:
            parts.append(f"until {moment(entry.deadline)}")
    if box.note and rental is not None:
        parts.append(f"({box.note})")
    if links and entry is not None and entry.link and rental is not None:
        parts.append(entry.link)
    return "  ".join(part for part in parts if part)


def warn_of_others(desk: Desk, output: Output) -> None:
    """Before more money is spent: what an earlier command, or a crash, left behind here."""
    try:
        rentals = desk.market.rentals()
    except KitError as error:
        output.say(f"note: {error.problem}, so earlier rentals are not looked at")
        return
    for box in reconcile.platform(desk.ledger, desk.platform, rentals, desk.now()):
        if box.rental is not None:
            output.say(f"already rented: {line(box, desk.platform, desk.now(), links=False)}")
