"""``kinokit queue``: see what waits and runs, and act: cancel, retry, pause, resume, purge."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from bootstrap.errors import KitError
from bootstrap.terminal import duration
from services.commands import options, service

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="See the queue of a running service, and act on it.",
)

STATES = ("queued", "in_progress", "completed", "failed")
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 24 * 3600}

AsJson = Annotated[bool, typer.Option("--json", help="For programs.")]
Url = Annotated[str | None, typer.Option(help="Another service's address; else the one that runs here.")]
Token = Annotated[
    str | None,
    typer.Option(
        envvar="KINOKIT_TOKEN", help="Its token; better in KINOKIT_TOKEN, where no process list shows it."
    ),
]
Ids = Annotated[list[str], typer.Argument(help="Ids of videos.")]
State = Annotated[
    list[str] | None, typer.Option("--state", help=f"{', '.join(STATES)}; repeat it for several.")
]
User = Annotated[str | None, typer.Option(help="Whose they are: the request's `user`.")]
Older = Annotated[
    str | None, typer.Option("--older-than", help="Made, or ended, so long ago: 90s, 30m, 12h, 7d.")
]


@app.command("list")
def list_jobs(
    state: State = None,
    user: User = None,
    model: Annotated[str | None, typer.Option(help="Of this model.")] = None,
    older_than: Older = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 100,
    as_json: AsJson = False,
    url: Url = None,
    token: Token = None,
    data_dir: options.DataDir = None,
    config: options.Config = None,
) -> None:
    """Everybody's jobs, newest first."""
    asked = {
        "status": _states(state, STATES),
        "user": user,
        "model": model,
        "older_than_seconds": seconds(older_than),
        "limit": limit,
    }
    with service.connect(url, token, data_dir, config) as found:
        answer = found.get("/v1/queue/jobs", **asked)
    if as_json:
        typer.echo(json.dumps(answer["data"], indent=2))
        return
    typer.echo("\n".join(_table(answer["data"], time.time())))
    if answer["has_more"]:
        typer.echo("there are more: --limit, or --state", err=True)


@app.command()
def show(
    job_id: Annotated[str, typer.Argument(help="A video's id.")],
    as_json: AsJson = False,
    url: Url = None,
    token: Token = None,
    data_dir: options.DataDir = None,
    config: options.Config = None,
) -> None:
    """All that is known of one job."""
    with service.connect(url, token, data_dir, config) as found:
        video = found.get(f"/v1/videos/{_id(job_id)}")
    typer.echo(json.dumps(video, indent=2) if as_json else "\n".join(_lines(video)))


@app.command()
def cancel(
    job_ids: Ids,
    as_json: AsJson = False,
    url: Url = None,
    token: Token = None,
    data_dir: options.DataDir = None,
    config: options.Config = None,
) -> None:
    """Stop jobs that wait or run; they end as failed, with code cancelled."""
    _each("cancel", job_ids, as_json, url, token, data_dir, config)


@app.command()
def retry(
    job_ids: Ids,
    as_json: AsJson = False,
    url: Url = None,
    token: Token = None,
    data_dir: options.DataDir = None,
    config: options.Config = None,
) -> None:
    """Try failed or cancelled jobs again, each under its own id with the same values and seed."""
    _each("retry", job_ids, as_json, url, token, data_dir, config)


@app.command()
def pause(
    as_json: AsJson = False,
    url: Url = None,
    token: Token = None,
    data_dir: options.DataDir = None,
    config: options.Config = None,
) -> None:
    """Begin no clip; what runs goes on, and new jobs wait."""
    _switch("pause", "the queue is paused: new jobs wait", as_json, url, token, data_dir, config)


@app.command()
def drain(
    as_json: AsJson = False,
    url: Url = None,
    token: Token = None,
    data_dir: options.DataDir = None,
    config: options.Config = None,
) -> None:
    """Empty this box before it ends: it finishes its clips and takes nothing in."""
    _switch("drain", "the box finishes its clips and takes no other", as_json, url, token, data_dir, config)


@app.command()
def resume(
    as_json: AsJson = False,
    url: Url = None,
    token: Token = None,
    data_dir: options.DataDir = None,
    config: options.Config = None,
) -> None:
    """Go on after a pause or a drain."""
    _switch("resume", "the queue goes on", as_json, url, token, data_dir, config)


@app.command()
def purge(
    state: Annotated[list[str], typer.Option("--state", help="queued, completed or failed; several times.")],
    user: User = None,
    model: Annotated[str | None, typer.Option(help="Of this model.")] = None,
    older_than: Older = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: AsJson = False,
    url: Url = None,
    token: Token = None,
    data_dir: options.DataDir = None,
    config: options.Config = None,
) -> None:
    """Forget jobs that wait or have ended, with their clips. Asks first."""
    asked = {
        "status": _states(state, ("queued", "completed", "failed")),
        "user": user,
        "model": model,
        "older_than_seconds": seconds(older_than),
    }
    with service.connect(url, token, data_dir, config) as found:
        matched = found.post("/v1/queue/purge", asked)["matched"]
        if matched and not yes:
            typer.confirm(f"forget {matched} jobs and delete their files?", abort=True, err=True)
        done = found.post("/v1/queue/purge", {**asked, "confirm": True}) if matched else {"purged": 0}
    typer.echo(json.dumps({"purged": done["purged"]}) if as_json else f"{done['purged']} jobs forgotten")


def _each(
    verb: str,
    job_ids: list[str],
    as_json: bool,
    url: str | None,
    token: str | None,
    data_dir: Path | None,
    config: Path | None,
) -> None:
    """One refusal does not keep the others from their turn."""
    videos, refused = [], False
    with service.connect(url, token, data_dir, config) as found:
        for job_id in job_ids:
            try:
                videos.append(found.post(f"/v1/videos/{_id(job_id)}/{verb}"))
            except KitError as error:
                refused = True
                typer.echo(f"error: {error}", err=True)
    if as_json:
        typer.echo(json.dumps(videos, indent=2))
    else:
        for video in videos:
            typer.echo(f"{video['id']}  {video['status']}")
    if refused:
        raise typer.Exit(1)


def _switch(
    verb: str,
    said: str,
    as_json: bool,
    url: str | None,
    token: str | None,
    data_dir: Path | None,
    config: Path | None,
) -> None:
    with service.connect(url, token, data_dir, config) as found:
        answer = found.post(f"/v1/queue/{verb}")
    typer.echo(json.dumps(answer) if as_json else said)


def seconds(text: str | None) -> float | None:
    """
    >>> [seconds(each) for each in ("90", "90s", "1.5h", "7d", None)]
    [90.0, 90.0, 5400.0, 604800.0, None]
    """
    if text is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", text.strip())
    if found is None:
        raise KitError(f"--older-than {text!r} is no length of time", fix="write 90s, 30m, 12h or 7d")
    return float(found[1]) * UNITS[found[2] or "s"]


def _states(given: list[str] | None, known: tuple[str, ...]) -> list[str] | None:
    for state in given or ():
        if state not in known:
            raise KitError(f"--state {state!r} is none of the states", fix=f"one of {', '.join(known)}")
    return given or None


def _id(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", text):
        raise KitError(f"{text!r} is no id of a video", fix="`kinokit queue list` shows them")
    return text


def _table(found: list[dict[str, Any]], now: float) -> list[str]:
    if not found:
        return ["no jobs"]
    head = ("id", "state", "user", "model", "age", "")
    rows = [head] + [
        (
            job["id"],
            job["status"],
            job["user"] or "-",
            job["model"],
            duration(max(0.0, now - job["created_at"])),
            _note(job),
        )
        for job in found
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    return [
        "  ".join([*(f"{text:<{width}}" for text, width in zip(row, widths, strict=False)), row[5]]).rstrip()
        for row in rows
    ]


def _note(job: dict[str, Any]) -> str:
    if job["status"] == "in_progress":
        return f"{job['progress']:.0%} {job['stage'] or ''} on {job['worker']}"
    if job["status"] == "failed":
        return f"{job['error_code']}: {job['error_message']}"
    return ""


def _lines(video: dict[str, Any]) -> list[str]:
    shown = {name: value for name, value in video.items() if value not in (None, [], {}, "")}
    width = max(map(len, shown))
    return [
        f"{name:<{width}}  {json.dumps(value) if isinstance(value, (dict, list)) else value}"
        for name, value in shown.items()
    ]
