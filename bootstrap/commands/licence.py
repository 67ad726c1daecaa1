"""A model's licence: shown before anything is downloaded, and accepted once by whoever sits at a terminal."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import typer

from bootstrap import files
from bootstrap.choose.manifest import Manifest
from bootstrap.errors import KitError

ACCEPTED = "licences.json"  # address of each licence that was accepted here, and the model that asked
# They bind nobody who uses a model's clips: nothing is asked.
OPEN = frozenset({"apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "cc0-1.0"})


def settle(model: Manifest, folder: Path, *, accepted: bool) -> None:
    """Ask at a terminal, once for each licence; ``accepted`` is --accept-licence or its variable.

    Without a terminal nobody is asked: the licence is shown, and going on accepts it.
    ``folder`` keeps what was accepted.

    Raises:
        KitError: the answer was no.
    """
    licence, known = model.licence, _known(folder)
    if licence.id.lower() in OPEN or licence.url in known:
        return
    if not accepted:
        typer.echo(f"{model.title} has a licence of its own: {licence.id}, {licence.url}", err=True)
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            typer.echo("whoever goes on accepts it", err=True)
            return
        if not typer.confirm("Do you accept it?", err=True):
            raise KitError(
                f"the licence of {model.name} was not accepted; nothing was downloaded",
                fix="read it and answer y, or take a model with another licence: `kinokit models`",
            )
    folder.mkdir(parents=True, exist_ok=True)
    files.replace_text(folder / ACCEPTED, json.dumps(known | {licence.url: model.name}, indent=2))


def _known(folder: Path) -> dict[str, str]:
    try:
        found = json.loads((folder / ACCEPTED).read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
