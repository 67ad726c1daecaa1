"""``kinokit sweep``: the same photo with several values of one number, side by side, to choose by eye."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from bootstrap import settings
from bootstrap.errors import KitError
from bootstrap.terminal import Terminal, duration
from services import parameters
from services.commands import clip_maker, connect, flags, options
from services.commands.generate import check_output
from services.video import sweep as sweeps

MOTION = "motion_bucket_id"
STILL_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
GRID_FPS = 7  # when no clip's own rate is asked for


def sweep(
    given: dict[str, Any],
    image: Annotated[Path, typer.Argument(help="A photo.")],
    motion: Annotated[
        str | None, typer.Option(help="Values of motion_bucket_id: FROM:TO:STEP, or with commas.")
    ] = None,
    over: Annotated[
        str | None, typer.Option(help="Another number, as in noise_aug_strength=0:0.1:0.02.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="A video (.mp4), or a sheet of stills (.png)."),
    ] = None,
    keep: Annotated[Path | None, typer.Option(help="A folder to keep the single clips in.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a sweep that is there already.")] = False,
    model: options.Model = None,
    profile: options.Profile = None,
    data_dir: options.DataDir = None,
    config: options.Config = None,
) -> None:
    """Make a clip for each value, with the same seed, and show them side by side with their labels."""
    name, values = swept(motion, over)
    target = output or Path(f"{image.stem}-sweep.mp4")
    check_output(target, force=force, endings=(".mp4", *STILL_SUFFIXES))
    # Only the value should make a difference.
    given = {**given, "seed": given.get("seed", secrets.randbelow(2**31))}
    runs = [{**given, name: value} for value in values]
    for run in runs:
        parameters.parse(run)
    clip_maker.photo(image)
    configuration = settings.load(
        {"model": model, "profile": profile, "data_dir": data_dir, "service": "api"}, os.environ, config
    )
    terminal = Terminal(sys.stderr)
    with tempfile.TemporaryDirectory(prefix="kinokit-sweep-") as room:
        folder = keep or Path(room)
        folder.mkdir(parents=True, exist_ok=True)
        cells = asyncio.run(_clips(configuration, terminal, runs, name, image, folder))
        write(cells, target, fps=given.get("fps", GRID_FPS))
    terminal.say(f"{len(cells)} values of {name}, seed {given['seed']}")
    typer.echo(target)


async def _clips(
    configuration: settings.Configuration,
    terminal: Terminal,
    runs: Sequence[dict[str, Any]],
    name: str,
    image: Path,
    folder: Path,
) -> list[sweeps.Cell]:
    cells = []
    async with connect.maker(configuration, os.environ, terminal) as chosen:
        for number, run in enumerate(runs, 1):
            place = f"[{number}/{len(runs)}] {name} {run[name]}"
            clip = folder / f"{image.stem}-{name}-{run[name]}.mp4"

            def report(line: str, place: str = place) -> None:
                terminal.live(f"{place}  {line}")

            made = await chosen.make(run, image, clip, report)
            terminal.say(f"{place}: {duration(made.seconds)}")
            cells.append(sweeps.Cell(f"{'motion' if name == MOTION else name} {run[name]}", clip))
    return cells


def swept(motion: str | None, over: str | None) -> tuple[str, list[float]]:
    """The parameter's name and its values.

    Raises:
        KitError: neither or both were given, or the parameter is not a number of the table.
    """
    if (motion is None) == (over is None):
        raise KitError("give one number to sweep", fix="as in --motion 80:180:20, or --over fps=6:12:2")
    if motion is not None:
        return MOTION, sweeps.values(motion)
    name, _, text = str(over).partition("=")
    name = name.replace("-", "_")
    if name not in parameters.NAMES:
        raise KitError(f"there is no parameter {name!r}", fix=f"choose one of {', '.join(parameters.NAMES)}")
    return name, sweeps.values(text)


def write(cells: Sequence[sweeps.Cell], target: Path, *, fps: int) -> None:
    """A sheet of stills or a video, by the name's ending."""
    if target.suffix.lower() in STILL_SUFFIXES:
        sweeps.sheet(cells).save(target)
        return
    from services.video import encode, metadata

    about = metadata.read(cells[0].clip)
    encode.write(sweeps.grid(cells), target, fps=fps, metadata=about)


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command("sweep")(flags.with_parameters(sweep))
