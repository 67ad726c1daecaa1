"""``kinokit rent pull``: clips leave the box as they finish."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from bootstrap.commands.rent import account
from bootstrap.commands.rent.account import Found
from bootstrap.commands.rent.options import AnyPlatform, Id
from bootstrap.commands.rent.output import AsJson, Output
from bootstrap.errors import KitError
from bootstrap.platforms.market import MarketError, UnknownRental
from bootstrap.platforms.order import LABEL_PREFIX
from bootstrap.rent import pulling, signals, watch
from bootstrap.rent.clips import BoxError
from bootstrap.rent.ledger import Entry
from bootstrap.rent.signals import Signalled

FOLDER = Path("clips")


def pull(
    id: Id,
    platform: AnyPlatform = None,
    to: Annotated[Path, typer.Option(help="The folder that they come into.")] = FOLDER,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the box ends, or Ctrl-C.")
    ] = False,
    again: Annotated[bool, typer.Option("--again", help="Those that were pulled before, too.")] = False,
    token: Annotated[
        str | None, typer.Option(help="The box's token, if it was rented from another machine.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Copy finished clips and their settings to this machine, each once and whole."""
    output = Output(as_json)
    paths: list[str] = []
    with signals.caught(output.say):
        try:
            found = _adopted(account.find(id, platform, output.say), token, output)
            while True:
                coming = _round(found, to, token, again and not paths, follow, output, paths)
                if not follow or coming is None:
                    break
                time.sleep(pulling.LOOK_SECONDS)
                found = _again(found, id, output)
        except Signalled as signal:
            output.result({"pulled": paths}, f"{len(paths)} pulled; what arrived is kept")
            raise typer.Exit(signal.exit_code) from signal
    output.result({"pulled": paths, "coming": coming or 0}, _said(len(paths), coming or 0, to))


def _adopted(found: Found, token: str | None, output: Output) -> Found:
    """A box of another machine is written down here, too, so that no clip comes twice."""
    rental = found.rental
    if found.entry is not None:
        return found
    if token is None:
        raise KitError(
            f"box {rental.id} was rented from another machine, so its token is not known here",
            fix="give it with --token: the link of the box ends with it",
        )
    label = rental.label or f"{rental.platform}-{rental.id}"
    now = time.time()
    entry = Entry(
        label=label,
        platform=rental.platform,
        model=label.removeprefix(LABEL_PREFIX).rpartition("-")[0],
        dollars_per_hour=rental.dollars_per_hour or 0.0,
        ordered_at=rental.created_at or now,
        token=token,
    )
    ledger = account.ledger(output.say)
    ledger.add(entry)
    return Found(found.market, rental, ledger.rented(label, rental.id, now, url=rental.url))


def _round(
    found: Found, to: Path, token: str | None, again: bool, follow: bool, output: Output, paths: list[str]
) -> int | None:
    """How many clips are still to come; None when the box is no more. Following outlives hiccups."""
    if found.rental.state in watch.LOST:
        output.say(f"box {found.rental.id} is {found.rental.state}")
        return None
    entry = account.ledger(output.say).get(found.entry.label) if found.entry else None
    if entry is None or not found.rental.url:
        raise KitError(f"box {found.rental.id} has no address yet", fix="try again when it is ready")
    try:
        pulled = pulling.once(
            account.ledger(output.say),
            entry,
            found.rental.url,
            to,
            token=token,
            again=again,
            report=output.say,
        )
    except BoxError as error:
        if not follow:
            raise
        output.say(f"{error.problem}; asked again")
        return 0
    paths += [str(path) for path in pulled.paths]
    return pulled.coming


def _again(found: Found, id: str, output: Output) -> Found:
    """Its address may change. A marketplace that is away says nothing of the box."""
    try:
        return account.find(id, found.rental.platform, output.say)
    except UnknownRental:
        raise KitError(
            f"box {id} is gone, and with it what was finished in the last {pulling.LOOK_SECONDS:g} s",
            fix="see `kinokit rent list` and `kinokit rent bill`",
        ) from None
    except MarketError:
        return found


def _said(count: int, coming: int, folder: Path) -> str:
    """
    >>> _said(1, 2, Path("clips"))
    '1 clip pulled to clips; 2 still to be made'
    """
    return f"{count} clip{'s' if count != 1 else ''} pulled to {folder}; {coming} still to be made"
