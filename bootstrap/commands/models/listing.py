"""``kinokit models``: everything that came with the kit, and what of it runs here."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from bootstrap import detect, fetch, settings
from bootstrap.choose import catalogue
from bootstrap.choose.catalogue import Entry
from bootstrap.commands import text
from bootstrap.launch import location


def models(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    data_dir: Annotated[Path | None, typer.Option(help="Where models and clips are kept.")] = None,
    config: Annotated[Path | None, typer.Option(help="A YAML file of settings.")] = None,
) -> None:
    """List all models with size, licence and what fits on this machine."""
    if context.invoked_subcommand is not None:
        return
    chosen = settings.load({"data_dir": data_dir}, os.environ, config).settings
    here = location.of(chosen, os.environ)
    machine = detect.read_machine(os.environ, here.data_dir, is_rented=here.platform.IS_RENTED)
    known = catalogue.entries(machine, fetch.missing_in(here.data_dir))
    if as_json:
        typer.echo(json.dumps([_document(each) for each in known], indent=2))
        return
    rows = [("model", "size", "licence", "here"), *map(_row, known)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    typer.echo(lines[0])
    for line, each in zip(lines[1:], known, strict=True):
        typer.echo(f"{line}\n  {each.manifest.summary}")


def _row(each: Entry) -> tuple[str, str, str, str]:
    model, profile = each.manifest, each.choice.profile
    gated = " (gated)" if model.licence.gated else ""
    return (
        model.name,
        text.size(model.download_bytes),
        f"{model.licence.id}{gated}",
        profile.name if profile else "no",
    )


def _document(each: Entry) -> dict[str, Any]:
    model, profile = each.manifest, each.choice.profile
    return {
        "name": model.name,
        "title": model.title,
        "summary": model.summary,
        "family": model.family.name,
        "inputs": model.inputs,
        "bytes": model.download_bytes,
        "missing_bytes": each.missing_bytes,
        "licence": model.licence.id,
        "gated": model.licence.gated,
        "profile": profile.name if profile else None,
    }
