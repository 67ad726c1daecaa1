"""``kinokit models remove``: a model's files, but for those that another complete model needs."""

from __future__ import annotations

from typing import Annotated

import typer

from bootstrap import fetch, volume
from bootstrap.choose import reading
from bootstrap.commands.models import disk
from bootstrap.errors import KitError
from bootstrap.fetch import leftovers
from bootstrap.launch import in_use


def remove(
    model: Annotated[str, typer.Argument(help="A shipped model, or a manifest's path or https URL.")],
    yes: disk.Yes = False,
    as_json: disk.Json = False,
    data_dir: disk.DataDir = None,
    config: disk.Config = None,
) -> None:
    """Show, and with --yes delete, the files of a model; what another model that is here needs stays."""
    place, chosen = disk.data_directory(data_dir, config)
    removed = reading.load(model)
    store = volume.models(place)
    home = fetch.home(removed, store=store)
    box = in_use.folders(place).get(home)
    if box is not None or leftovers.is_fetched_into(home):
        raise KitError(
            f"{home} is used by the kit that runs in {box}" if box else f"somebody fetches into {home}",
            fix="end it first: kinokit down",
        )
    others = [each for each in disk.known(place, [chosen]) if each.name != removed.name]
    here = [each for each in others if not fetch.missing_bytes(each, store=store)]
    disk.make_room(leftovers.of_model(store, removed, here), place, yes=yes, as_json=as_json)
