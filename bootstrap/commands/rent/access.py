"""``kinokit rent logs`` and ``ssh``: a look into the box."""

from __future__ import annotations

import os
import shlex
from dataclasses import asdict
from typing import Annotated

import typer

from bootstrap.commands.rent import account
from bootstrap.commands.rent.options import AnyPlatform, Id
from bootstrap.commands.rent.output import AsJson, Output
from bootstrap.errors import KitError


def logs(id: Id, platform: AnyPlatform = None, as_json: AsJson = False) -> None:
    """Show what the box's container printed, as far as the marketplace gives it."""
    output = Output(as_json)
    found = account.find(id, platform, output.say)
    text = found.market.logs(found.rental.id)
    output.result({"id": found.rental.id, "log": text}, text.rstrip("\n"))


def ssh(
    id: Id,
    platform: AnyPlatform = None,
    go: Annotated[bool, typer.Option("--go", help="Run it, instead of printing it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print the command that reaches the box by ssh; the key is your account's at the marketplace."""
    output = Output(as_json)
    found = account.find(id, platform, output.say)
    where = found.rental.ssh
    if where is None:
        raise KitError(
            f"{found.market.name} names no way by ssh into box {found.rental.id} yet",
            fix="try again when it runs; it needs your public key in the marketplace's account",
        )
    command = ["ssh", "-p", str(where.port), f"{where.user}@{where.host}"]
    if go:
        os.execvp(command[0], command)  # noqa: S606
    output.result({**asdict(where), "command": command}, shlex.join(command))
