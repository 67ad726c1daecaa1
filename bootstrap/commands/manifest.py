"""``kinokit manifest check | lock | schema``: for those who write manifests."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from bootstrap import settings
from bootstrap.choose import addressing, locking, reading
from bootstrap.choose import family as families
from bootstrap.choose.family import Family, Setting
from bootstrap.choose.manifest import Manifest
from bootstrap.commands import text
from bootstrap.errors import KitError

app = typer.Typer(
    name="manifest",
    add_completion=False,
    help="Check manifests, and fill in their hashes.",
    no_args_is_help=True,
)


@app.command()
def check(
    manifest: Annotated[str, typer.Argument(help="A path, an https URL, or a shipped model's name.")],
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Read a manifest and tell every mistake of it, each with its line."""
    read = reading.load(manifest)
    unknown = locking.unknown_hashes(read)
    if as_json:
        sizes = {"files": len(read.files), "bytes": read.download_bytes}
        typer.echo(json.dumps({"name": read.name, **sizes, "without_hash": list(unknown)}, indent=2))
        return
    typer.echo(f"{read.name}: {len(read.files)} files, {text.size(read.download_bytes)}, no mistakes")
    keys = addressing.hold_keys(read)
    if keys:
        typer.echo(
            f"note: the addresses of {', '.join(keys)} hold a query or a user: whoever gets this manifest may"
            " have a key with it; tokens in the settings (civitai_token, mirror_tokens) need none"
        )
    if unknown:
        typer.echo(
            f"no hash is known of {', '.join(unknown)}: `kinokit manifest lock {manifest}` asks the hub"
        )


@app.command()
def lock(
    manifest: Annotated[str, typer.Argument(help="A path, or a shipped model's name.")],
    output: Annotated[
        Path | None, typer.Option(help="Write here instead of into the manifest itself.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="A YAML file of settings.")] = None,
) -> None:
    """Fill in sizes and hashes from the hub, at the pinned revision; comments stay."""
    if "://" in manifest:
        raise KitError("a manifest from the net cannot be filled in", fix="save it to a file first")
    chosen = settings.load({}, os.environ, config).settings
    path = reading.path_of(manifest)
    read = reading.load(str(path))
    token = chosen.hf_token.get_secret_value() if chosen.hf_token else None
    known = locking.ask(read, endpoint=chosen.hf_endpoint, token=token)
    if not known:
        raise KitError(
            f"{read.name} has no files from a hub", fix="write the hashes yourself: sha256sum FILE"
        )
    filled, changes = locking.fill(path.read_text(encoding="utf-8"), read, known)
    reading.parse(filled, path.name, path.parent)
    locking.write(output or path, filled)
    for change in changes:
        was = f", was {change.old}" if change.old else ""
        typer.echo(f"{change.path}: {change.key} {change.new}{was}")
    typer.echo(f"{len(changes)} values filled in, {len(known)} files agree with {chosen.hf_endpoint}")


@app.command()
def schema() -> None:
    """Print the JSON schema of manifests, for editors; model-manifests/schema.json is this."""
    typer.echo(schema_text(), nl=False)


def schema_text() -> str:
    """The schema as the file in model-manifests holds it."""
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Manifest.model_json_schema(),
        "title": "kinokit model manifest",
        "allOf": [_of_family(each) for each in families.shipped()],
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _of_family(family: Family) -> dict[str, Any]:
    """What settings and recipe may hold in this family's manifests."""
    settings, recipe = _object(family.settings), _object(family.recipe)
    profiles = {"items": {"properties": {"settings": settings}}}
    return {
        "if": {"properties": {"family": {"const": family.name}}},
        "then": {"properties": {"recipe": recipe, "profiles": profiles}},
    }


def _object(fields: Mapping[str, Setting]) -> dict[str, Any]:
    properties = {name: field.schema_for_editors() for name, field in fields.items()}
    return {"type": "object", "additionalProperties": False, "properties": properties}
