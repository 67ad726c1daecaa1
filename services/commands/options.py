"""Options of every command that makes clips: which model, how it runs, where things are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Model = Annotated[str | None, typer.Option(help="A shipped model, or a manifest's path or https URL.")]
Profile = Annotated[str | None, typer.Option(help="A profile of the model; else the best that fits.")]
DataDir = Annotated[Path | None, typer.Option(help="Where models are kept, and where a service may run.")]
Config = Annotated[Path | None, typer.Option(help="A YAML file of settings.")]
