"""``kinokit rent watch``: a box whose clips come home, and that ends, or is followed by another, in time."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bootstrap.choose import reading
from bootstrap.commands.rent import account, boxes
from bootstrap.commands.rent.options import AnyPlatform, HfToken, Id
from bootstrap.commands.rent.output import AsJson, Output
from bootstrap.errors import KitError
from bootstrap.rent import renting, signals
from bootstrap.rent.keeping import Keeper
from bootstrap.rent.ledger import Entry
from bootstrap.rent.renting import Desk
from bootstrap.rent.signals import Signalled
from bootstrap.rent.wish import Wish

FOLDER = Path("clips")


def watch(
    id: Id,
    platform: AnyPlatform = None,
    to: Annotated[Path, typer.Option(help="The folder that finished clips come into.")] = FOLDER,
    pull: Annotated[bool, typer.Option(help="Copy finished clips to this machine.")] = True,
    replace: Annotated[
        bool | None,
        typer.Option(help="Rent the next offer when it is taken back; for interruptible boxes by itself."),
    ] = None,
    hf_token: HfToken = None,
    as_json: AsJson = False,
) -> None:
    """Pull clips as they finish, end the box at its last hour, rent the next offer when it is taken back."""
    output = Output(as_json)
    with signals.caught(output.say) as caught:
        found = account.find(id, platform, output.say)
        if found.entry is None or not found.entry.wish:
            raise KitError(
                f"box {id} was rented from another machine, which knows what was asked for",
                fix="watch it there; `kinokit rent pull` works from here",
            )
        desk = account.desk(found.rental.platform, output.say, caught)
        folder = to if pull else None
        said = keep(desk, found.entry, folder, output, replaces=replace, hf_token=hf_token)
    output.result({"id": id, "end": said}, said)


def keep(
    desk: Desk,
    entry: Entry,
    folder: Path | None,
    output: Output,
    *,
    replaces: bool | None,
    hf_token: str | None,
) -> str:
    """Watch it to its end. StillRented when the command ends before."""
    wish = Wish.model_validate(entry.wish)
    keeper = Keeper(
        desk,
        wish,
        reading.load(wish.model),
        entry,
        folder,
        replaces=wish.interruptible if replaces is None else replaces,
        hf_token=hf_token,
        told=lambda box: output.say(f"the next box: {box.link}"),
    )
    try:
        output.say(f"watching {boxes.named(entry)}; Ctrl-C leaves it rented")
        return keeper.run()
    except Signalled as signal:
        raise renting.still_rented(keeper.entry, signal) from signal
