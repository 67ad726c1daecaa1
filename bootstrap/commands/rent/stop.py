"""``kinokit rent stop``: the end of a rental."""

from __future__ import annotations

import typer

from bootstrap.commands.rent import account
from bootstrap.commands.rent.options import Platform
from bootstrap.errors import KitError


def stop(id: str, platform: Platform = "vast") -> None:
    """End a rental and its costs; its disk is gone with it."""
    market = account.market(platform)
    market.destroy(id)
    if any(each.id == id for each in market.rentals()):
        raise KitError(
            f"{market.name} still lists {id}",
            fix="end it on the marketplace's site, to avoid accumulating charges",
        )
    typer.echo(f"{id} is ended")
