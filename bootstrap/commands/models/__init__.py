"""``kinokit models``: what there is and what of it runs here; ``prune`` and ``remove`` make room."""

from __future__ import annotations

import typer

from bootstrap.commands.models import listing, prune, remove

app = typer.Typer(
    add_completion=False, help="List all models and what fits on this machine; make room on its disk."
)
app.callback(invoke_without_command=True)(listing.models)
app.command()(prune.prune)
app.command()(remove.remove)
