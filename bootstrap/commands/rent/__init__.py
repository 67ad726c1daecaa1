"""``kinokit rent``: offers ranked by what a clip costs, a box from one of them, and its end."""

from __future__ import annotations

import typer

from bootstrap.commands.rent import access, bill, blacklist, keep, listing, offers, pull, start, stop
from bootstrap.platforms import registry

TITLES = [registry.PLATFORMS[name].TITLE for name in registry.named("market")]

app = typer.Typer(
    add_completion=False, help=f"Rent a GPU with your own key, from your own machine: on {', '.join(TITLES)}."
)
app.command()(offers.offers)
app.command()(start.start)
app.command("list")(listing.list_)
app.command()(stop.stop)
app.command()(stop.resume)
app.command()(keep.watch)
app.command()(pull.pull)
app.command()(bill.bill)
app.command()(access.logs)
app.command()(access.ssh)
app.command()(blacklist.blacklist)
