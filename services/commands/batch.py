"""``kinokit batch``: a clip of every photo in a folder. It resumes, and goes on after a bad photo."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from bootstrap import settings
from bootstrap.errors import KitError
from bootstrap.terminal import Terminal, duration
from services import parameters
from services.commands import clip_maker, connect, flags, options

# Also those that are refused: such a photo is reported as failed, not passed over.
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".avif", ".heic", ".heif", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True)
class Row:
    """The result of one photo."""

    photo: Path
    result: Literal["made", "skipped", "failed"]
    note: str


def batch(
    given: dict[str, Any],
    folder: Annotated[Path, typer.Argument(help="The folder of photos.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where the clips go; else beside the photos.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Make again what is finished.")] = False,
    model: options.Model = None,
    profile: options.Profile = None,
    data_dir: options.DataDir = None,
    config: options.Config = None,
) -> None:
    """Make a clip of every photo in a folder. Run it again to go on where it stopped."""
    found = photos(folder)
    parameters.parse(given)
    outdir = output or folder
    try:
        outdir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise KitError(f"{outdir} cannot be made: {error.strerror}", fix="choose another --output") from error
    configuration = settings.load(
        {"model": model, "profile": profile, "data_dir": data_dir, "service": "api"}, os.environ, config
    )
    terminal = Terminal(sys.stderr)
    rows: list[Row] = []
    try:
        asyncio.run(_all(configuration, terminal, given, targets(found, outdir), rows, force=force))
    finally:
        _conclude(rows, len(found), terminal)
    if any(row.result == "failed" for row in rows):
        raise typer.Exit(1)


async def _all(
    configuration: settings.Configuration,
    terminal: Terminal,
    given: Mapping[str, Any],
    work: Sequence[tuple[Path, Path]],
    rows: list[Row],
    *,
    force: bool,
) -> None:
    async with connect.maker(configuration, os.environ, terminal) as chosen:
        if "image" not in chosen.inputs:
            raise KitError(f"{chosen.model} takes no photo", fix="choose a model that does: kinokit models")
        for number, (photo, clip) in enumerate(work, 1):
            place = f"[{number}/{len(work)}] {photo.name}"
            if not force and is_finished(photo, clip, chosen.model, given):
                rows.append(Row(photo, "skipped", "finished before, with the same parameters"))
                continue
            rows.append(await _one(chosen, terminal, given, photo, clip, place))
            terminal.say(f"{place}: {rows[-1].result}, {rows[-1].note}")


async def _one(
    chosen: clip_maker.Maker,
    terminal: Terminal,
    given: Mapping[str, Any],
    photo: Path,
    clip: Path,
    place: str,
) -> Row:
    def report(line: str) -> None:
        terminal.live(f"{place}  {line}")

    try:
        clip_maker.photo(photo)
        made = await chosen.make(given, photo, clip, report)
    except clip_maker.Failed as failed:
        return Row(photo, "failed", failed.problem)
    return Row(photo, "made", f"{clip.name}, seed {made.seed}, {duration(made.seconds)}")


def photos(folder: Path) -> list[Path]:
    """The folder's pictures by name; KitError when there are none."""
    if not folder.is_dir():
        raise KitError(f"there is no folder {folder}", fix="give the folder that holds the photos")
    found = sorted(each for each in folder.iterdir() if each.suffix.lower() in SUFFIXES and each.is_file())
    if not found:
        raise KitError(f"{folder} holds no photos", fix=f"photos end in {', '.join(SUFFIXES)}")
    return found


def targets(found: Sequence[Path], outdir: Path) -> list[tuple[Path, Path]]:
    """Each photo's clip; two photos that differ in their suffix alone keep it in the clip's name."""
    stems = [photo.stem for photo in found]
    return [
        (photo, outdir / f"{photo.stem if stems.count(photo.stem) == 1 else photo.name}.mp4")
        for photo in found
    ]


def is_finished(photo: Path, clip: Path, model: str, given: Mapping[str, Any]) -> bool:
    """The clip is whole, newer than its photo, and records the model and parameters that are asked for."""
    from services.video import metadata  # PyAV, for a clip that is there

    try:
        if clip.stat().st_mtime < photo.stat().st_mtime:
            return False
        recorded = metadata.read(clip)
    except (OSError, KitError):
        return False
    wanted = dict(given)
    if "size" in wanted:
        width, _, height = str(wanted.pop("size")).partition("x")
        wanted |= {"width": int(width), "height": int(height)}
    # a length in seconds became a number of frames
    seconds = wanted.pop("seconds", None)
    same = all(recorded.values.get(name) == value for name, value in wanted.items())
    if seconds is not None:
        same = same and abs(recorded.values["num_frames"] / recorded.values["fps"] - seconds) <= 1
    return same and recorded.model == model


def _conclude(rows: Sequence[Row], photos_count: int, terminal: Terminal) -> None:
    results = ("made", "skipped", "failed")
    counts = {result: sum(row.result == result for row in rows) for result in results}
    failed = [row for row in rows if row.result == "failed"]
    if failed:
        width = max(len(row.photo.name) for row in failed)
        terminal.say("failed:")
        for row in failed:
            terminal.say(f"  {row.photo.name:<{width}}  {row.note}")
    left = photos_count - len(rows)
    unfinished = f", {left} not reached: run it again to go on" if left else ""
    terminal.say(", ".join(f"{count} {result}" for result, count in counts.items()) + unfinished)


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command("batch")(flags.with_parameters(batch))
