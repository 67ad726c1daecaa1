"""``kinokit key``: named keys for people, programs and boxes; the running service sees them at once."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from bootstrap import data_directory, settings
from bootstrap.errors import KitError
from bootstrap.launch import front_client, location
from services.keys.key import Key, NewKey
from services.keys.key_file import KeyFile

app = typer.Typer(add_completion=False, help="Make, list and revoke named keys.", no_args_is_help=True)

SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
DataDir = Annotated[Path | None, typer.Option(help="The data directory of the service.")]
Config = Annotated[Path | None, typer.Option(help="A YAML file of settings.")]


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="Who the key is for; with --scope worker a box.")],
    scope: Annotated[
        list[str] | None, typer.Option(help="make, read, read:all, admin or worker; may be repeated.")
    ] = None,
    rate: Annotated[float | None, typer.Option(help="Requests a minute.")] = None,
    quota: Annotated[
        list[str] | None,
        typer.Option(help="A day: clips as a number, GPU time as 30m or 2h; may be repeated."),
    ] = None,
    share: Annotated[float | None, typer.Option(help="Of the places in the queue, 0 to 1; else 0.5.")] = None,
    expires: Annotated[str | None, typer.Option(help="After so long: 12h, 30d; else never.")] = None,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Make a key and show it, once; the service keeps only a hash."""
    wanted: dict[str, Any] = {"name": name, "scopes": scope or ["make"], "requests_per_minute": rate}
    for each in quota or []:
        if each.isdigit():
            wanted["clips_per_day"] = int(each)
        else:
            wanted["gpu_seconds_per_day"] = seconds(each, "--quota")
    if share is not None:
        wanted["queue_share"] = share
    if expires is not None:
        wanted["expires_in_seconds"] = seconds(expires, "--expires")
    made, secret = _file(data_dir, config).add(_checked(wanted))
    typer.echo(secret)
    where = (
        "the box reads it from KINOKIT_WORKER_TOKEN_FILE" if made.is_workers else "Authorization: Bearer …"
    )
    typer.echo(f"{made.id}: it is shown only now; {where}", err=True)


@app.command("list")
def list_keys(
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    days: Annotated[int, typer.Option(min=1, max=366, help="Of use: days of UTC, today included.")] = 1,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Every key: what it may, when it was used last, and what it has used where the service runs."""
    place = _place(data_dir, config)
    keys = KeyFile(place).keys()
    used = _usage(place, days)
    if as_json:
        rows = [each.model_dump(mode="json", exclude={"hash"}) | used.get(each.id, {}) for each in keys]
        typer.echo(json.dumps(rows, indent=2))
        return
    if not keys:
        typer.echo("there is no named key; make one: kinokit key add NAME")
        return
    lines = [("name", "id", "may", "limits", "last use", "used"), *(_row(each, used) for each in keys)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        typer.echo("  ".join(map(str.ljust, line, widths)).rstrip())


@app.command()
def revoke(
    key: Annotated[str, typer.Argument(help="Its name or id.")],
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """End a key at once, with the sessions that were made from it."""
    ended = _file(data_dir, config).revoke(key)
    typer.echo(f"{ended.name} ({ended.id}) opens nothing any more")


def seconds(text: str, flag: str) -> float:
    """
    >>> [seconds(each, "--expires") for each in ("90s", "30m", "2h", "30d")]
    [90.0, 1800.0, 7200.0, 2592000.0]
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text.strip())
    if found is None:
        raise KitError(f"{flag} {text!r} is no time", fix="write a number and s, m, h or d: 30m, 12h, 7d")
    return float(found[1]) * SECONDS[found[2]]


def _checked(wanted: dict[str, Any]) -> NewKey:
    try:
        return NewKey.model_validate(wanted)
    except ValidationError as errors:
        first = errors.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"][:1])) or "key"
        raise KitError(f"{place}: {first['msg']}", fix="see kinokit key add --help") from None


def _place(data_dir: Path | None, config: Path | None) -> Path:
    chosen = settings.load({"data_dir": data_dir}, os.environ, config).settings
    return location.of_running(chosen, os.environ).data_dir


def _file(data_dir: Path | None, config: Path | None) -> KeyFile:
    place = _place(data_dir, config)
    if not place.is_dir():
        raise KitError(f"there is no data directory {place}", fix="start the service first: kinokit up")
    return KeyFile(place)


def _usage(data_dir: Path, days: int) -> dict[str, dict[str, Any]]:
    """By the id of the key; empty where the service does not run."""
    record = data_directory.running(data_dir)
    if not record or "local_url" not in record:
        return {}
    token = Path(record["token_file"]).read_text().split()[0] if record.get("auth") else None
    found = front_client.get(record["local_url"], f"/v1/usage?days={days}", token) or {"data": []}
    return {each["key_id"]: each for each in found["data"] if each["key_id"]}


def _row(each: Key, used: dict[str, dict[str, Any]]) -> tuple[str, ...]:
    limits = [
        f"{each.requests_per_minute:g}/min" if each.requests_per_minute else "",
        f"{each.clips_per_day} clips/day" if each.clips_per_day else "",
        f"{each.gpu_seconds_per_day:g} GPU s/day" if each.gpu_seconds_per_day else "",
        "" if each.is_workers else f"{each.queue_share:.0%} of the queue",
    ]
    now = used.get(each.id, {})
    return (
        each.name,
        each.id,
        ",".join(each.scopes)
        if each.is_active
        else "nothing: revoked"
        if each.revoked_at
        else "nothing: expired",
        ", ".join(filter(None, limits)),
        time.strftime("%Y-%m-%d %H:%M", time.localtime(each.last_used_at)) if each.last_used_at else "never",
        f"{now['clips']} clips, {now['gpu_seconds']:g} GPU s" if now else "",
    )


def _may(each: Key) -> str:
    if each.is_active:
        return ",".join(each.scopes)
    return "nothing: revoked" if each.revoked_at else "nothing: expired"
