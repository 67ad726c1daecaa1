"""``kinokit rent list``: what is being paid for."""

from __future__ import annotations

from typing import Annotated

import typer

from bootstrap.commands.rent import account
from bootstrap.commands.rent.options import Platform


def list_(platform: Platform = "vast", port: Annotated[int, typer.Option()] = 8000) -> None:
    """Show what is being paid for."""
    rentals = account.market(platform).rentals(port)
    for each in rentals:
        price = f"${each.dollars_per_hour:.2f}/h" if each.dollars_per_hour else ""
        typer.echo(f"{each.id}  {each.label}  {each.state}  {each.url or 'no address yet'}  {price}")
    if not rentals:
        typer.echo("nothing is rented")
