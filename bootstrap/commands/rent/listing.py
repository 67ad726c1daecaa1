"""``kinokit rent list``: what is being paid for, at every marketplace whose key is set."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from bootstrap.commands.rent import account, boxes
from bootstrap.commands.rent.options import AnyPlatform
from bootstrap.commands.rent.output import AsJson, Output
from bootstrap.errors import KitError
from bootstrap.platforms import registry
from bootstrap.rent import reconcile
from bootstrap.rent.ledger import Ledger
from bootstrap.rent.reconcile import Box


def list_(
    platform: AnyPlatform = None,
    links: Annotated[bool, typer.Option("--links", help="With the addresses that sign in.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what is being paid for, also what an earlier command lost sight of. Own boxes alone."""
    output, now = Output(as_json), time.time()
    ledger = account.ledger(output.say)
    names = [platform] if platform else list(registry.named("market"))
    asked = [name for name in names if platform or account.has_key(name)]
    found: list[tuple[str, Box]] = []
    problems = _without_key(ledger, [name for name in names if name not in asked])
    for name in asked:
        listed = account.rentals(name, output.say)
        if isinstance(listed, KitError):
            problems.append(f"{listed.problem}: {_open(ledger, name)}")
            continue
        found += [(name, box) for box in reconcile.platform(ledger, name, listed, now)]
    rows: list[dict[str, Any]] = [boxes.row(box, name, now, links=links) for name, box in found]
    lines = [boxes.line(box, name, now, links=links) for name, box in found]
    if not asked:
        lines.append("no marketplace's key is set")
    elif not found and not problems:
        lines.append("nothing is rented")
    output.result({"boxes": rows, "problems": problems}, "\n".join([*lines, *problems]))
    if problems or not asked:
        raise typer.Exit(1)


def _without_key(ledger: Ledger, names: list[str]) -> list[str]:
    """A box that cannot be asked after is worse than one that costs money."""
    held = {each.platform for each in ledger.open()}
    return [
        f"{registry.market(name).key_variable} is not set: {_open(ledger, name)}"
        for name in names
        if name in held
    ]


def _open(ledger: Ledger, platform: str) -> str:
    names = [each.id or each.label for each in ledger.open() if each.platform == platform]
    if not names:
        return "what is rented there is not known"
    return f"{', '.join(names)} may still be rented"
