"""``kinokit generate``: one clip, from the running service when there is one, else with the model itself."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from bootstrap import settings
from bootstrap.errors import KitError
from bootstrap.terminal import Terminal, duration
from services import parameters
from services.commands import clip_maker, connect, flags, options


def generate(
    given: dict[str, Any],
    image: Annotated[
        Path | None, typer.Argument(help="A photo; none for models that make clips of a text.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The clip; else the photo's name, or clip.mp4.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a clip that is there already.")] = False,
    model: options.Model = None,
    profile: options.Profile = None,
    data_dir: options.DataDir = None,
    config: options.Config = None,
) -> None:
    """Make one clip. Uses the service of the data directory when one runs, else loads the model itself."""
    target = output or (Path(f"{image.stem}.mp4") if image else Path("clip.mp4"))
    check_output(target, force=force)
    parameters.parse(given)
    if image is not None:
        clip_maker.photo(image)
    configuration = settings.load(
        {"model": model, "profile": profile, "data_dir": data_dir, "service": "api"}, os.environ, config
    )
    terminal = Terminal(sys.stderr)
    made = asyncio.run(_generate(configuration, terminal, given, image, target))
    for warning in made.warnings:
        terminal.say(f"note: {warning}")
    terminal.say(f"{made.frames} frames of {made.size} in {duration(made.seconds)}, seed {made.seed}")
    typer.echo(made.path)


async def _generate(
    configuration: settings.Configuration,
    terminal: Terminal,
    given: dict[str, Any],
    image: Path | None,
    target: Path,
) -> clip_maker.Made:
    async with connect.maker(configuration, os.environ, terminal) as chosen:
        return await chosen.make(given, image, target, terminal.live)


def check_output(path: Path, *, force: bool, endings: tuple[str, ...] = (".mp4",)) -> None:
    """Checked before anything is loaded."""
    if path.suffix.lower() not in endings:
        raise KitError(f"{path} does not end in {' or '.join(endings)}", fix=f"call it {path.stem}.mp4")
    if path.is_dir():
        raise KitError(f"{path} is a folder", fix="name a file in it")
    if path.exists() and not force:
        raise KitError(f"{path} is there already", fix="choose another --output, or replace it with --force")
    if not path.parent.is_dir():
        raise KitError(f"there is no folder {path.parent}", fix="make it first, or choose another --output")
    if not os.access(path.parent, os.W_OK):
        raise KitError(f"{path.parent} may not be written to", fix="choose another --output")


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command("generate")(flags.with_parameters(generate))
