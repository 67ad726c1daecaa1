"""``kinokit rent stop`` and ``resume``: the end of a rental, or a pause, and the way back."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from bootstrap.commands.rent import account, boxes
from bootstrap.commands.rent.account import Found
from bootstrap.commands.rent.options import AnyPlatform, Id
from bootstrap.commands.rent.output import AsJson, Output, Yes
from bootstrap.errors import KitError
from bootstrap.platforms.market import MarketError, UnknownRental
from bootstrap.rent import renting, signals, watch
from bootstrap.rent.clips import Box
from bootstrap.rent.signals import Signalled
from bootstrap.rent.wish import HOURS, READY_MINUTES, Wish

CLIPS_SECONDS = 15.0


def stop(
    id: Id,
    platform: AnyPlatform = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Stop it and keep its disk, which goes on costing.")
    ] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """End a rental and its costs; its disk is gone with it, and clips that were not pulled."""
    output = Output(as_json)
    found = _found(id, platform, output)
    if keep:
        _keep(found, output)
        return
    clips = _clips(found)
    box = f"{found.rental.id} ({found.rental.label}, {found.market.name})"
    if not yes:
        output.say(clips)
    if not output.agreed(f"End box {box} and delete its disk?", yes):
        raise KitError(
            f"box {found.rental.id} was not ended. {clips}", fix="give --yes to end it all the same"
        )
    _end(found, output)


def _found(id: str, platform: str | None, output: Output) -> Found:
    """A marketplace that does not answer leaves the box running, and that is what must be said."""
    try:
        return account.find(id, platform, output.say)
    except UnknownRental:
        raise
    except MarketError as error:
        known = [each for each in account.ledger(output.say).open() if id in (each.id, each.label)]
        if not known:
            raise
        box = known[-1]
        raise watch.StillRented(box.platform, id, box.dollars_per_hour, error.problem) from error


def _end(found: Found, output: Output) -> None:
    with signals.caught(output.say):
        try:
            watch.end(found.market, found.rental, port=found.port, report=output.say)
        except Signalled as signal:
            raise watch.still_rented(found.rental, f"ended by {signal}", signal.exit_code) from signal
    document, cost = {"id": found.rental.id, "state": "ended"}, ""
    if found.entry is not None:
        now = time.time()
        entry = account.ledger(output.say).left(found.entry.label, "ended", now)
        document |= boxes.document(entry, links=False)
        cost = f": {entry.hours(now):.2f} h, ${entry.dollars(now):.2f}"
    output.result(document, f"{found.rental.id} is ended{cost}")


def _keep(found: Found, output: Output) -> None:
    found.market.stop(found.rental.id)
    if found.entry is not None:
        account.ledger(output.say).left(found.entry.label, "stopped", time.time())
    again = f"kinokit rent resume {found.rental.id} --platform {found.rental.platform}"
    output.result(
        {"id": found.rental.id, "state": "stopped"},
        f"{found.rental.id} is stopped; its disk still costs. To go on: {again}",
    )


def _clips(found: Found) -> str:
    """What would be lost. Downloads of a browser are not known here, and are not counted."""
    entry = found.entry
    if not found.rental.url or entry is None or not entry.token:
        return "Its clips could not be looked at from here."
    try:
        with Box(found.rental.url, entry.token, CLIPS_SECONDS) as box:
            clips = box.clips()
    except KitError as error:
        return f"Its clips could not be looked at: {error.problem}."
    missing = len(clips.missing(entry.pulled))
    if not missing and not clips.coming:
        return f"Its finished clips, {len(clips.finished)} in all, are on this machine."
    lost = f"{missing} finished clip{'s' if missing != 1 else ''} not pulled"
    return (
        f"It has {lost}, and {clips.coming} still to be made; they are deleted with it."
        f" To copy them first: kinokit rent pull {found.rental.id} --platform {found.rental.platform}"
    )


def resume(
    id: Id,
    platform: AnyPlatform = None,
    hours: Annotated[float, typer.Option(min=0, help="Hours until its deadline, from now; 0: none.")] = HOURS,
    ready_minutes: Annotated[
        float, typer.Option(help="End the rental when it is not ready by then.")
    ] = READY_MINUTES,
    as_json: AsJson = False,
) -> None:
    """Start a stopped box again and wait until it is ready."""
    output = Output(as_json)
    found = account.find(id, platform, output.say)
    if found.entry is None:
        raise KitError(
            f"box {id} was rented from another machine, so its token is not known here",
            fix="resume it there, or on the marketplace's site",
        )
    wish = Wish(
        platform=found.rental.platform,
        model=found.entry.model,
        hours=hours or None,
        ready_minutes=ready_minutes,
        port=found.entry.port,
    )
    with signals.caught(output.say) as caught:
        desk = account.desk(found.rental.platform, output.say, caught)
        box = renting.again(desk, wish, found.entry)
    output.result(boxes.document(box, links=True), f"{box.link}\nIt costs money until you end it.")
