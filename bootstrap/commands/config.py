"""``kinokit config``: every setting, its value and where it came from."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from bootstrap import settings
from bootstrap.settings import Settings


def config(
    file: Annotated[Path | None, typer.Option("--config", help="A YAML file of settings.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show every setting, its value and where it came from. Secrets are masked."""
    shown = settings.load({}, os.environ, file).shown()
    if as_json:
        typer.echo(json.dumps(shown, indent=2))
        return
    width = max(map(len, shown))
    values = {name: _written(each["value"]) for name, each in shown.items()}
    value_width = max(map(len, values.values()))
    for name, each in shown.items():
        about = Settings.model_fields[name].description
        typer.echo(f"{name:<{width}}  {values[name]:<{value_width}}  {each['source']:<26}  {about}")


def _written(value: object) -> str:
    """As a YAML file would say it."""
    if value is None or value == ():
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
