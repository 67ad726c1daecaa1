"""A stopped box instead of a new one: its disk has the model already."""

from __future__ import annotations

from dataclasses import dataclass

from bootstrap.commands.rent.output import Output
from bootstrap.errors import KitError
from bootstrap.rent.cost import Estimate
from bootstrap.rent.duration import START_SECONDS
from bootstrap.rent.ledger import Entry
from bootstrap.rent.renting import Desk
from bootstrap.rent.wish import Wish


@dataclass(frozen=True)
class Stopped:
    """A box of this model, and what it costs until it is ready again."""

    entry: Entry
    dollars: float


def cheaper(desk: Desk, wanted: Wish, taken: Estimate) -> Stopped | None:
    """The stopped box that is cheaper to the first clip than the offer; None when there is none."""
    known = [
        each
        for each in desk.ledger.open()
        if (each.platform, each.model) == (wanted.platform, wanted.model) and each.id
    ]
    if not known:
        return None
    try:
        stopped = {each.id for each in desk.market.rentals(wanted.port) if each.state == "stopped"}
    except KitError:
        return None
    found = [
        Stopped(each, START_SECONDS / 3600 * each.dollars_per_hour) for each in known if each.id in stopped
    ]
    best = min(found, key=lambda each: each.dollars, default=None)
    return best if best is not None and best.dollars < _dollars(taken) else None


def _dollars(taken: Estimate) -> float:
    return taken.ready_seconds / 3600 * taken.offer.dollars_per_hour + taken.download_dollars


def agreed(stopped: Stopped, taken: Estimate, output: Output, wanted: bool, yes: bool) -> bool:
    """It is offered, and never taken in silence."""
    entry, price = stopped.entry, f"${stopped.entry.dollars_per_hour:.2f}/h"
    output.say(
        f"stopped box {entry.id} ({entry.gpu}, {price}) has {entry.model} on its disk:"
        f" ${stopped.dollars:.2f} until it is ready, a new box ${_dollars(taken):.2f}"
    )
    if wanted:
        return True
    if yes:
        output.say(f"to take it instead: kinokit rent resume {entry.id} --platform {entry.platform}")
        return False
    return output.agreed("Start the stopped one again?", False)
