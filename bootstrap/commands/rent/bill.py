"""``kinokit rent bill``: what the session cost."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from bootstrap.commands.rent import account
from bootstrap.commands.rent.output import AsJson, Output
from bootstrap.rent import bill as bills
from bootstrap.rent.bill import Bill, Item

HOURS = 24.0


def bill(
    hours: Annotated[float, typer.Option(min=0, help="Boxes that ran in the last so many hours.")] = HOURS,
    everything: Annotated[bool, typer.Option("--all", help="Every box that this machine rented.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show hours, dollars and dollars a clip of the boxes rented from here."""
    output, now = Output(as_json), time.time()
    since = 0.0 if everything else now - hours * 3600
    made = bills.make(account.ledger(output.say).entries(), now, since)
    output.result(
        {"boxes": [_row(item) for item in made.items], **_sum(made)},
        table(made) if made.items else "no box ran in this time",
    )


def _row(item: Item) -> dict[str, Any]:
    entry = item.entry
    named = {"platform": entry.platform, "id": entry.id, "label": entry.label, "gpu": entry.gpu}
    return {**named, "state": entry.state, "dollars_per_hour": entry.dollars_per_hour, **_numbers(item)}


def _sum(made: Bill) -> dict[str, Any]:
    return _numbers(made)


def _numbers(of: Item | Bill) -> dict[str, Any]:
    each = of.dollars_per_clip
    return {
        "hours": round(of.hours, 3),
        "dollars": round(of.dollars, 4),
        "clips_pulled": of.clips,
        "dollars_per_clip": None if each is None else round(each, 4),
    }


def table(made: Bill) -> str:
    """One line a box, and their sum."""
    lines = [f"{'box':<34} {'GPU':<16} {'hours':>6} {'$/h':>6} {'$':>8} {'clips':>5} {'$/clip':>7}"]
    for item in made.items:
        entry = item.entry
        name = f"{entry.platform} {entry.id or entry.label}"
        running = "  running" if entry.state == "rented" else ""
        lines.append(
            f"{name:<34.34} {entry.gpu:<16.16} {item.hours:>6.2f} {entry.dollars_per_hour:>6.2f}"
            f" {_tail(item)}{running}"
        )
    lines.append(f"{'all':<34} {'':<16} {made.hours:>6.2f} {'':>6} {_tail(made)}")
    lines.append(
        "clips are those that `kinokit rent pull` copied; disks of stopped boxes and traffic come on top"
    )
    return "\n".join(lines)


def _tail(of: Item | Bill) -> str:
    each = of.dollars_per_clip
    return f"{of.dollars:>8.2f} {of.clips:>5} {'-' if each is None else f'{each:.3f}':>7}"
