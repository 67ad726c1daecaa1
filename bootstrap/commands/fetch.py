"""``kinokit fetch``: a model's files and nothing else, for a volume that is filled before a GPU is rented."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from bootstrap import fetch as fetching
from bootstrap import settings, volume
from bootstrap.choose import reading
from bootstrap.commands import licence, text
from bootstrap.fetch import Progress
from bootstrap.launch import location
from bootstrap.terminal import Terminal, running


def fetch(
    model: Annotated[
        str | None, typer.Option(help="A shipped model, or a manifest's path or https URL.")
    ] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Where models and clips are kept.")] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Hash also what was verified before.")] = False,
    downloader: Annotated[
        str, typer.Option(help="kinokit, hf-transfer or hf-hub; all are verified the same way.")
    ] = "kinokit",
    connections: Annotated[
        int | None, typer.Option(min=1, max=256, help="How many at once; else as many as help.")
    ] = None,
    accept_licence: Annotated[
        bool, typer.Option("--accept-licence", help="Accept the model's licence without being asked.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="The result for programs; what happens meanwhile goes to stderr.")
    ] = False,
    config: Annotated[Path | None, typer.Option(help="A YAML file of settings.")] = None,
) -> None:
    """Download a model's files and verify them, or go on where a download stopped."""
    flags = {
        "model": model,
        "data_dir": data_dir,
        "verify": verify or None,
        "accept_licence": accept_licence or None,
    }
    chosen = settings.load(flags, os.environ, config).settings
    store = volume.models(location.of(chosen, os.environ).data_dir)
    wanted = reading.load(chosen.model)
    licence.settle(wanted, store.parent, accepted=chosen.accept_licence)
    token = chosen.hf_token.get_secret_value() if chosen.hf_token else fetching.saved_token()
    terminal = Terminal(sys.stderr if as_json else sys.stdout)
    terminal.say(f"licence: {text.licence(wanted.licence, token_missing=token is None)}")
    missing = fetching.missing_bytes(wanted, store=store)
    terminal.say(
        f"{wanted.title}: {missing / 1e9:.2f} of {wanted.download_bytes / 1e9:.2f} GB are to be fetched"
    )
    try:
        fetching.fetch(
            wanted,
            store=store,
            token=token,
            endpoint=chosen.hf_endpoint,
            mirrors=chosen.mirrors,
            host_tokens=chosen.host_tokens(),
            downloader=downloader,
            verify=chosen.verify,
            connections=connections,
            report=_reporter(terminal),
        )
    except KeyboardInterrupt:
        terminal.say("stopped: what has arrived is kept, and the same command goes on from there")
        raise
    place = fetching.home(wanted, store=store)
    terminal.say(f"all {len(wanted.files)} files are verified: {place}")
    if as_json:
        sizes = {"files": len(wanted.files), "bytes": wanted.download_bytes, "fetched_bytes": missing}
        typer.echo(json.dumps({"model": wanted.name, **sizes, "place": str(place)}, indent=2))


def _reporter(terminal: Terminal) -> Callable[[Progress], None]:
    """Each note once, and one live line."""
    notes: set[str] = set()

    def report(progress: Progress) -> None:
        if progress.note and progress.note not in notes:
            notes.add(progress.note)
            terminal.say(f"note: {progress.note}")
        terminal.live(running({"name": "fetch", **{key: getattr(progress, key) for key in SHOWN}}))

    return report


SHOWN = ("bytes_done", "bytes_total", "bytes_per_second", "eta_seconds")
