"""What both commands that make room have in common: the place, the list that is shown, and the deletion."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from bootstrap import settings, volume
from bootstrap.choose import reading
from bootstrap.choose.manifest import Manifest
from bootstrap.commands import text
from bootstrap.errors import KitError
from bootstrap.fetch import leftovers
from bootstrap.fetch.leftovers import Leftover
from bootstrap.launch import location

Yes = Annotated[bool, typer.Option("--yes", help="Delete; otherwise the list is all.")]
Json = Annotated[bool, typer.Option("--json", help="For programs.")]
DataDir = Annotated[Path | None, typer.Option(help="Where models and clips are kept.")]
Config = Annotated[Path | None, typer.Option(help="A YAML file of settings.")]


def data_directory(data_dir: Path | None, config: Path | None) -> tuple[Path, str]:
    """Of this box, and the model of its settings."""
    chosen = settings.load({"data_dir": data_dir}, os.environ, config).settings
    return location.of(chosen, os.environ).data_dir, chosen.model


def known(data_dir: Path, also: Sequence[str]) -> list[Manifest]:
    """The manifests that came with the kit or to a box of this volume, and those that are named."""
    paths = [str(path) for path in reading.shipped().values()]
    for box in (volume.top(data_dir), *volume.boxes(volume.top(data_dir))):
        paths += map(str, sorted((box / "manifests").glob("*.yaml")))
    return [reading.load(each) for each in dict.fromkeys([*paths, *also])]


def make_room(found: list[Leftover], data_dir: Path, *, yes: bool, as_json: bool) -> None:
    """Show the list; delete it if that was asked for."""
    top = volume.models(data_dir)
    if yes:
        try:
            leftovers.delete(top, found)
        except OSError as error:
            raise KitError(
                f"{error.filename or top} cannot be deleted: {error.strerror}",
                fix="run it as the user who fetched the files; what else was listed may be gone already",
            ) from error
    freed = sum(each.freed_bytes for each in found)
    if as_json:
        rows = [{"path": str(e.path), "freed_bytes": e.freed_bytes, "why": e.why} for e in found]
        typer.echo(json.dumps({"deleted": yes, "freed_bytes": freed, "found": rows}, indent=2))
        return
    for each in found:
        typer.echo(f"{text.size(each.freed_bytes):>9}  {each.path.relative_to(top)}: {each.why}")
    if not found:
        typer.echo(f"nothing to delete in {top}")
    elif yes:
        typer.echo(f"{text.size(freed)} freed in {top}")
    else:
        typer.echo(f"{text.size(freed)} would be freed in {top}: add --yes to delete what is listed")
