"""``kinokit models prune``: old revisions, unfinished downloads, and what no manifest names."""

from __future__ import annotations

from typing import Annotated

import typer

from bootstrap import volume
from bootstrap.commands.models import disk
from bootstrap.fetch import leftovers
from bootstrap.launch import in_use


def prune(
    keep: Annotated[
        list[str] | None, typer.Option(help="A manifest of your own whose files stay; may be repeated.")
    ] = None,
    yes: disk.Yes = False,
    as_json: disk.Json = False,
    data_dir: disk.DataDir = None,
    config: disk.Config = None,
) -> None:
    """Show, and with --yes delete, what no manifest needs that is known here; never what a box runs with."""
    place, model = disk.data_directory(data_dir, config)
    manifests = disk.known(place, [model, *(keep or [])])
    used = in_use.folders(place)
    disk.make_room(leftovers.unneeded(volume.models(place), manifests, used), place, yes=yes, as_json=as_json)
