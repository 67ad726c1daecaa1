"""``kinokit status``: how the service of a data directory stands, also as an exit code."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from bootstrap import data_directory, settings
from bootstrap.commands.up import boot_document
from bootstrap.errors import KitError
from bootstrap.launch import history, location, waterfall
from bootstrap.launch.front_client import get

EXIT = {"ready": 0, "failed": 1, "not running": 1}
BOOTING = 3


def status(
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    data_dir: Annotated[Path | None, typer.Option(help="The data directory of the service.")] = None,
    config: Annotated[Path | None, typer.Option(help="A YAML file of settings.")] = None,
    timeline: Annotated[
        bool, typer.Option("--timeline", help="What each part of the boot took, and what waited for what.")
    ] = False,
    chrome: Annotated[
        Path | None, typer.Option(help="Write the timeline for chrome://tracing or ui.perfetto.dev.")
    ] = None,
    boot: Annotated[
        int, typer.Option(min=1, max=history.KEPT, help="Of which boot: 1 the last, 2 the one before.")
    ] = 1,
) -> None:
    """How it stands; exit code 0 when ready, 3 while booting, 1 when failed or not running."""
    where = location.of_running(
        settings.load({"data_dir": data_dir}, os.environ, config).settings, os.environ
    ).data_dir
    if timeline or chrome:
        _timeline(where, boot, chrome, as_json=as_json)
        return
    found = describe(where)
    typer.echo(json.dumps(found, indent=2) if as_json else "\n".join(_lines(found, where)))
    raise typer.Exit(EXIT.get(found["state"], BOOTING))


def _timeline(data_dir: Path, number: int, chrome: Path | None, *, as_json: bool) -> None:
    document = _boot(data_dir, number)
    if chrome:
        try:
            chrome.write_text(json.dumps(waterfall.chrome(document)))
        except OSError as error:
            raise KitError(
                f"{chrome} cannot be written: {error.strerror}", fix="name another file with --chrome"
            ) from error
        typer.echo(f"{chrome}: open it in chrome://tracing or https://ui.perfetto.dev", err=True)
    if as_json:
        shown = {key: document.get(key) for key in ("model", "platform", "service", "state", "started_at")}
        shown |= {"timeline": document.get("timeline") or [], "prediction": document.get("prediction")}
        typer.echo(json.dumps(shown | {"measured": waterfall.measured(document)}, indent=2))
    elif not chrome:
        typer.echo("\n".join(waterfall.text(document)))


def _boot(data_dir: Path, number: int) -> dict[str, Any]:
    """The document of one of the last boots. The newest may not be kept yet: it is under way."""
    newest = boot_document(data_dir)
    kept = history.last(data_dir)
    if newest.get("timeline") and newest.get("started_at") not in [each["started_at"] for each in kept]:
        kept.insert(0, newest)
    elif kept and newest.get("timeline"):
        kept[0] = newest
    if number > len(kept):
        raise KitError(
            f"{len(kept)} boots are kept in {data_dir}; number {number} is not there",
            fix="start one with `kinokit up`, or name another --data-dir",
        )
    return kept[number - 1]


def describe(data_dir: Path) -> dict[str, Any]:
    """What the front says now; without one, what the agent wrote last."""
    record = data_directory.running(data_dir)
    if record is None:
        last = boot_document(data_dir)
        return _shape("not running", {}, failure=last.get("failure"))
    token_file = record.get("token_file")
    token = Path(token_file).read_text().split()[0] if token_file and record.get("auth") else None
    answer = get(record["local_url"], "/status", token) if "local_url" in record else None
    boot = answer["boot"] if answer else boot_document(data_dir)
    plan = (answer or {}).get("plan") or {}
    return _shape(
        str(boot.get("state", "starting")),
        record,
        profile=plan.get("profile"),
        phases=boot.get("phases", []),
        findings=boot.get("findings", []),
        failure=boot.get("failure"),
        workers=(answer or {}).get("workers", []),
        queue=(answer or {}).get("queue"),
        cost=(answer or {}).get("cost"),
        paused=(answer or {}).get("paused"),
    )


def _shape(state: str, record: dict[str, Any], **more: Any) -> dict[str, Any]:
    keys = ("url", "fingerprint", "port", "token_file", "model", "service", "platform", "pid", "started_at")
    return {
        "state": state,
        **{key: record.get(key) for key in keys},
        "profile": None,
        "failure": None,
        **more,
    }


def _lines(found: dict[str, Any], data_dir: Path) -> list[str]:
    rows = [("state", found["state"]), ("data", str(data_dir))]
    if found["url"]:
        rows += [
            ("address", found["url"]),
            *([("fingerprint", found["fingerprint"])] if found["fingerprint"] else []),
            ("token", f"in {found['token_file']}"),
            ("process", str(found["pid"])),
        ]
        rows.append(("model", f"{found['model']}{' as ' + found['profile'] if found['profile'] else ''}"))
    for phase in found.get("phases", []):
        if phase["state"] == "running":
            from bootstrap.terminal import running  # only while something is under way

            rows.append(("phase", running(phase).strip()))
    for worker in found.get("workers", []):
        rows.append((worker["worker"], f"{worker['state']}  {worker.get('detail') or ''}".rstrip()))
    if "queued" in (found.get("queue") or {}):
        queue = found["queue"]
        rows.append(
            (
                "queue",
                ", ".join(f"{queue[key]} {key}" for key in ("queued", "in_progress", "completed", "failed")),
            )
        )
    if found.get("paused"):
        rows += [("paused", found["paused"]["problem"]), ("fix", found["paused"]["fix"])]
    if found.get("cost"):
        cost = found["cost"]
        rows.append(
            (
                "cost",
                f"{cost['dollars']:.2f} USD since the start: {cost['clips_dollars']:.2f} for clips,"
                f" {cost['other_dollars']:.2f} otherwise ({cost['hourly_cost']:.2f} an hour)",
            )
        )
    if found["failure"]:
        rows += [("failed", found["failure"]["problem"]), ("fix", found["failure"]["fix"])]
    width = max(len(name) for name, _ in rows)
    return [f"{name:<{width}}  {value}" for name, value in rows]
