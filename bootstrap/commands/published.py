"""The options that say what a rented box fetches, for the commands that order one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from bootstrap import publication, settings
from bootstrap.platforms.order import IMAGE
from bootstrap.publication import Publication

Image = Annotated[
    str | None, typer.Option(help=f"Any Debian or Ubuntu image, or one of the kit's; else {IMAGE}.")
]
Source = Annotated[
    str | None,
    typer.Option(help="A git URL with @REF, a wheel, or a release.json; else what this checkout says."),
]
ScriptUrl = Annotated[
    str | None,
    typer.Option(
        help="Where the start script is fetched, else found by the source; empty when the image starts the"
        " kit itself."
    ),
]

Config = Annotated[Path | None, typer.Option(help="A YAML file of settings.")]


def find(
    image: str | None, source: str | None, script_url: str | None, config: Path | None
) -> tuple[str, Publication]:
    """The box's image, and where its kit is published: flags, environment, file, checkout, wheel."""
    given = {"source": source, "script_url": script_url, "box_image": image}
    chosen = settings.load(given, os.environ, config).settings
    return chosen.box_image or IMAGE, publication.find(chosen.source, chosen.script_url)
