"""``kinokit rent blacklist``: the hosts that failed, and forgiving them."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from bootstrap.commands.rent import account
from bootstrap.commands.rent.output import AsJson, Output, moment


def blacklist(
    clear: Annotated[str | None, typer.Option(help="Forget this host, or all of them.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show the hosts that failed; nobody rents from them for 30 days. --clear HOST or --clear all."""
    output = Output(as_json)
    known = account.blacklist(output.say)
    if clear is not None:
        gone = known.clear(None if clear == "all" else clear)
        output.say(f"{gone} host{'s' if gone != 1 else ''} forgotten")
    listed = known.hosts(time.time())
    rows = [
        {
            "platform": each.platform,
            "host": each.host,
            "reason": each.reason,
            "since": moment(each.since),
            "until": moment(each.until),
        }
        for each in listed
    ]
    lines = [f"{row['platform']}  {row['host']}  until {row['until']}  {row['reason']}" for row in rows]
    output.result(rows, "\n".join(lines) or "no host is on the black list")
