"""``kinokit cost``: rent, own, or call an API."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from bootstrap.choose import card_speeds, prices, reading
from bootstrap.choose.manifest import Manifest
from bootstrap.commands import text
from bootstrap.errors import KitError
from bootstrap.rent import comparison
from bootstrap.rent.comparison import Row


def cost(
    model: Annotated[str, typer.Option(help="Which model would make the clips.")] = "wan22",
    clips: Annotated[int, typer.Option(min=1, help="Clips of one session.")] = 50,
    kwh: Annotated[
        float | None, typer.Option(min=0, help="Dollars of a kilowatt-hour where you live.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Compare what the same clips cost rented, on an own machine, and from commercial APIs."""
    manifest = reading.load(model)
    if any(profile.needs.device == "cpu" for profile in manifest.profiles):
        raise KitError(f"{model} needs no GPU: it costs nothing", fix="compare another model")
    if manifest.clip_seconds is None:
        shipped = [reading.load(str(path)) for path in reading.shipped().values()]
        known = ", ".join(each.name for each in shipped if each.clip_seconds is not None)
        raise KitError(
            f"nobody has measured how long {model} takes for a clip",
            fix=f"known are {known}; an own manifest says it with clip_seconds",
        )
    rows = comparison.rows(manifest, clips, prices.load(), comparison.load(), kwh)
    if as_json:
        document = {"model": manifest.name, "clips": clips, "rows": [asdict(row) for row in rows]}
        typer.echo(json.dumps(document, indent=2))
        return
    length = comparison.clip_length(manifest)
    typer.echo(f"{clips} clips of {length:.1f} s with {manifest.title}\n")
    typer.echo(table(rows))
    typer.echo("\n" + "\n".join(text.wrapped(verdict(rows, clips))))
    for row in rows:
        if row.detail:
            typer.echo("\n".join(text.wrapped(f"own {row.name}: {row.detail}")))
    typer.echo("\n".join(text.wrapped(_sources(manifest))))


def table(rows: list[Row]) -> str:
    """At most 80 columns."""
    lines = [f"{'':<5} {'':<18.18} {'time':>7} {'$/clip':>8} {'together':>9}"]
    for row in rows:
        predicted = "" if row.is_measured else "~"
        seconds = f"{predicted}{row.seconds:.0f} s" if row.seconds is not None else ""
        lines.append(
            f"{row.way:<5} {row.name:<18.18} {seconds:>7} {row.dollars_per_clip:>8.4f}"
            f" {row.total_dollars:>9.2f}  {row.note}"
        )
    return "\n".join(lines)


def _sources(manifest: Manifest) -> str:
    reference = card_speeds.card_speeds().reference
    known, ready = comparison.load(), comparison.ready_seconds(manifest)
    link = comparison.LINK_BYTES_PER_SECOND * 8 / 1e6
    return (
        f"~ is predicted from an {reference}'s time by data sheets, the others were measured; a rented box is"
        f" ready after {ready / 60:.0f} min at {link:.0f} Mbit/s; prices of {prices.load().date} (rent)"
        f" and {max(api.date for api in known.apis)} (APIs)"
    )


def verdict(rows: list[Row], clips: int) -> str:
    """From how many clips a session on the cheapest rented card beats the cheapest API."""
    rented = next(row for row in rows if row.way == "rent")
    api = next(row for row in rows if row.way == "api")
    from_clips = comparison.session_break_even(rented, api, clips)
    if from_clips is None:
        return f"{api.name} stays cheaper than renting {rented.name} for any number of clips"
    since = "the first clip" if from_clips == 1 else f"{from_clips} clips"
    return f"a session on a rented {rented.name} is cheaper than {api.name} from {since} on"
