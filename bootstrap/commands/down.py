"""``kinokit down``: end what runs in a data directory, and wait until it has ended."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from bootstrap import data_directory, settings
from bootstrap.errors import KitError
from bootstrap.launch import location

END_SECONDS = 20.0


def down(
    data_dir: Annotated[Path | None, typer.Option(help="The data directory of the service.")] = None,
    config: Annotated[Path | None, typer.Option(help="A YAML file of settings.")] = None,
) -> None:
    """End the service; jobs under way go back into the queue. Returns when it has ended."""
    where = location.of_running(
        settings.load({"data_dir": data_dir}, os.environ, config).settings, os.environ
    ).data_dir
    found = data_directory.running(where)
    if found is None:
        typer.echo(f"nothing runs in {where}")
        return
    pid = found.get("pid")
    if not isinstance(pid, int):
        raise KitError(f"an agent is just starting in {where}", fix="try again in a moment")
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    until = time.monotonic() + END_SECONDS
    while data_directory.running(where) is not None:
        if time.monotonic() > until:
            raise KitError(
                f"the agent (process {pid}) did not end within {END_SECONDS:.0f} s",
                fix=f"read {where}/logs/agent.log, then end it with: kill -9 {pid}",
            )
        time.sleep(0.05)
    typer.echo(f"ended (process {pid})")
