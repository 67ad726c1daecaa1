"""``kinokit logs``: the end of a log, and what comes."""

from __future__ import annotations

import os
import time
from collections import deque
from pathlib import Path
from typing import Annotated

import typer

from bootstrap import settings
from bootstrap.errors import KitError
from bootstrap.launch import location

LOOK_SECONDS = 0.2


def logs(
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what comes; Ctrl-C ends.")
    ] = False,
    worker: Annotated[bool, typer.Option("--worker", help="The workers' logs alone.")] = False,
    front: Annotated[bool, typer.Option("--front", help="The front's log alone.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="How many lines of each.")] = 40,
    data_dir: Annotated[Path | None, typer.Option(help="The data directory of the service.")] = None,
    config: Annotated[Path | None, typer.Option(help="A YAML file of settings.")] = None,
) -> None:
    """Show the end of the logs: agent, front and workers."""
    where = location.of_running(
        settings.load({"data_dir": data_dir}, os.environ, config).settings, os.environ
    ).data_dir
    patterns = [*(["worker-*.log"] if worker else []), *(["front.log"] if front else [])]
    patterns = patterns or ["agent.log", "front.log", "worker-*.log"]
    paths = [path for pattern in patterns for path in sorted((where / "logs").glob(pattern))]
    if not paths:
        raise KitError(f"there are no logs in {where / 'logs'}", fix="start the service: kinokit up")
    places = {path: _show_end(path, lines, titled=len(paths) > 1) for path in paths}
    while follow:
        time.sleep(LOOK_SECONDS)
        for path in paths:
            places[path] = _show_news(path, places[path], titled=len(paths) > 1)


def _show_end(path: Path, lines: int, *, titled: bool) -> int:
    """The last lines; where the file ends now."""
    with path.open(errors="replace") as file:
        for line in deque(file, lines):
            _show(path, line, titled)
        return file.tell()


def _show_news(path: Path, place: int, *, titled: bool) -> int:
    if not path.exists():
        return 0
    if path.stat().st_size < place:  # put aside, and begun anew
        place = 0
    with path.open(errors="replace") as file:
        file.seek(place)
        for line in file:
            _show(path, line, titled)
        return file.tell()


def _show(path: Path, line: str, titled: bool) -> None:
    typer.echo(f"{path.stem}: {line.rstrip()}" if titled else line.rstrip())
