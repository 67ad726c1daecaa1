"""``kinokit up``: check the settings, then become the agent, or start one in the background."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from bootstrap import data_directory, settings, volume
from bootstrap.choose import parcel
from bootstrap.errors import KitError
from bootstrap.launch import location
from bootstrap.settings import Settings

ANSWER_SECONDS = 60.0
UNDECIDED = (None, "starting", "detecting", "choosing")  # states of a boot before a model is chosen
AGENT = [sys.executable, "-m", "bootstrap.launch.agent"]


def up(
    model: Annotated[
        str | None, typer.Option(help="A shipped model, or a manifest's path or https URL.")
    ] = None,
    service: Annotated[str | None, typer.Option(help="api: programs only; ui: the studio as well.")] = None,
    host: Annotated[
        str | None, typer.Option(help="The address to listen at; 127.0.0.1 keeps others out.")
    ] = None,
    port: Annotated[int | None, typer.Option(help="The port to listen at.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Where models, clips and the queue are kept.")] = None,
    profile: Annotated[
        str | None, typer.Option(help="A profile of the model; else the best that fits.")
    ] = None,
    platform: Annotated[str | None, typer.Option(help="Take this marketplace as given.")] = None,
    public_url: Annotated[str | None, typer.Option(help="The address for people, when it is known.")] = None,
    auth: Annotated[
        str | None, typer.Option(help="auto, on or off; auto: on when others reach the port.")
    ] = None,
    tls: Annotated[
        str | None, typer.Option(help="off, auto (https with a certificate of the box's own) or files.")
    ] = None,
    hf_endpoint: Annotated[str | None, typer.Option(help="The model hub.")] = None,
    mirrors: Annotated[str | None, typer.Option(help="Mirrors of the hub, with commas.")] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Hash files again that were verified before.")
    ] = False,
    idle_stop_minutes: Annotated[
        float | None, typer.Option(help="Stop the rented box after so long without work.")
    ] = None,
    stop_after_hours: Annotated[
        float | None, typer.Option(help="Stop the rented box so long after its start, busy or not.")
    ] = None,
    hourly_cost: Annotated[
        float | None, typer.Option(help="US dollars an hour, shown beside what waits.")
    ] = None,
    accept_licence: Annotated[
        bool, typer.Option("--accept-licence", help="Accept the model's licence without being asked.")
    ] = False,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Return once it answers; it goes on in the background.")
    ] = False,
    config: Annotated[Path | None, typer.Option(help="A YAML file of settings.")] = None,
) -> None:
    """Start the service: the port answers at once, the model follows."""
    flags: dict[str, Any] = {
        "model": model,
        "service": service,
        "host": host,
        "port": port,
        "data_dir": str(data_dir) if data_dir else None,
        "profile": profile,
        "platform": platform,
        "public_url": public_url,
        "auth": auth,
        "tls": tls,
        "hf_endpoint": hf_endpoint,
        "mirrors": mirrors,
        "verify": verify or None,
        "idle_stop_minutes": idle_stop_minutes,
        "stop_after_hours": stop_after_hours,
        "hourly_cost": hourly_cost,
        "accept_licence": accept_licence or None,
        "detach": detach or None,
    }
    given = {name: value for name, value in flags.items() if value is not None}
    chosen = location.settled(settings.load(given, os.environ, config).settings, os.environ)
    data_dir = chosen.data_dir
    assert data_dir is not None, "settled"
    wanted = parcel.unpack(chosen.model, os.environ, data_dir)
    chosen = chosen.model_copy(update={"model": wanted})
    if _runs_already(chosen):
        return
    _settle_licence(chosen, data_dir)
    if not location.of(chosen, os.environ).platform.IS_SHORT_LIVED:
        volume.adopt(data_dir)
    if chosen.detach:
        start_detached(chosen)
    else:
        become(chosen)


def _runs_already(chosen: Settings) -> bool:
    """Whether this very service runs in the data directory; then its link is all that was wanted.

    Raises:
        KitError: another model or service runs there.
    """
    assert chosen.data_dir is not None, "settled"
    record = data_directory.running(chosen.data_dir)
    if not record or not {"url", "model", "service"} <= record.keys():
        return False
    if (record["model"], record["service"]) != (chosen.model, chosen.service):
        raise KitError(
            f"kinokit already runs {record['model']} as {record['service']} in {chosen.data_dir},"
            f" not {chosen.model} as {chosen.service}: {record['url']}",
            fix=f"end it first with `{_typed('down')}`, or choose another --data-dir and --port",
        )
    typer.echo(f"already running: {_link(record)}")
    return True


def _settle_licence(chosen: Settings, data_dir: Path) -> None:
    """Where somebody can answer, or has answered. Else the boot shows it: a box's page must not wait."""
    if chosen.accept_licence or sys.stdin.isatty():
        from bootstrap.choose import reading  # a box's page must not wait for this import either
        from bootstrap.commands import licence

        licence.settle(reading.load(chosen.model), volume.top(data_dir), accepted=chosen.accept_licence)


def become(chosen: Settings) -> NoReturn:
    """The agent takes this process over: signals and Ctrl-C reach it directly.

    It reads the settings on its standard input, where neither a process list nor a disk shows a secret.
    """
    sys.stdout.flush()
    reads, writes = os.pipe()
    with os.fdopen(writes, "w") as agent:  # some KiB: a pipe holds them until they are read
        json.dump(chosen.revealed(), agent)
    os.dup2(reads, 0)
    os.close(reads)
    os.execv(AGENT[0], AGENT)  # noqa: S606


def start_detached(chosen: Settings) -> None:
    """Start the agent and return once the page answers and the machine is known to suit the model."""
    assert chosen.data_dir is not None, "settled"
    data_dir = chosen.data_dir
    process = subprocess.Popen(
        [*AGENT, "--quiet"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    assert process.stdin is not None
    with suppress(BrokenPipeError), process.stdin as agent:  # it may have ended: see below
        json.dump(chosen.revealed(), agent)
    until = time.monotonic() + ANSWER_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            raise _ended(process, data_dir)
        record = data_directory.record(data_dir) or {}
        if (
            record.get("pid") == process.pid
            and _past_choice(data_dir, record["started_at"])
            and (status := _status(record))
            and status["queue"] is not None
        ):
            _tell(record, status["queue"].get("failure"))
            return
        time.sleep(0.05)
    raise KitError(
        f"the service did not answer within {ANSWER_SECONDS:.0f} s (process {process.pid})",
        fix=f"read `{_typed('logs')}`, or end it with `{_typed('down')}`",
    )


def _tell(record: dict[str, Any], queue_failure: dict[str, str] | None) -> None:
    """Its link, and how to go on. KitError when it runs without a queue: no clip can be made then."""
    typer.echo(_link(record))
    commands = ", ".join(_typed(name) for name in ("status", "logs", "down"))
    typer.echo(f"it runs in the background (process {record['pid']}): {commands}")
    if queue_failure:
        raise KitError(queue_failure["problem"], fix=f"{queue_failure['fix']}; `{_typed('down')}` ends it")


def _link(record: dict[str, Any]) -> str:
    """The address that signs in whoever opens it."""
    if not record["auth"]:
        return f"{record['url']}/"
    return f"{record['url']}/?token={Path(record['token_file']).read_text().split()[0]}"


def _typed(command: str) -> str:
    """A command as this user types it: make hides where the program lies and which directory it uses."""
    begin = os.environ.get(f"{settings.PREFIX}COMMAND", "kinokit")
    return f"{begin} {command}"


def _past_choice(data_dir: Path, started_at: float) -> bool:
    """A model that does not fit ends the agent: wait for that, it takes a second."""
    document = boot_document(data_dir)
    if (document.get("failure") or {}).get("ends"):
        return False
    return document.get("started_at", 0) >= started_at and document.get("state") not in UNDECIDED


def boot_document(data_dir: Path) -> dict[str, Any]:
    try:
        found = json.loads((data_dir / "boot.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _status(record: dict[str, Any]) -> dict[str, Any] | None:
    from bootstrap.launch.front_client import get  # loads urllib: only for a start in the background

    token = Path(record["token_file"]).read_text().split()[0] if record["auth"] else None
    return get(record["local_url"], "/status", token)


def _ended(process: subprocess.Popen[str], data_dir: Path) -> KitError:
    """The agent's own words: on its error output, or in the boot document when the boot had begun."""
    assert process.stderr is not None
    output = process.stderr.read().strip()
    failure = boot_document(data_dir).get("failure")
    if output.startswith("error: ") and "\n  fix: " in output:
        problem, _, fix = output.removeprefix("error: ").rpartition("\n  fix: ")
        error = KitError(problem, fix=fix)
    elif failure:
        error = KitError(failure["problem"], fix=failure["fix"])
    else:
        error = KitError(
            f"the agent ended with exit code {process.returncode}: {output[-1500:]}",
            fix=f"read `{_typed('logs')}`",
        )
    error.exit_code = process.returncode or 1
    return error
