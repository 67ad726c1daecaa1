"""What the commands of renting say: lines for people as things happen, or one JSON document at the end."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from typing import Annotated, Any

import typer

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document; what happens goes to stderr.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


class Output:
    """A terminal that is gone (a closed laptop) must not end what is under way."""

    def __init__(self, as_json: bool = False) -> None:
        self.as_json = as_json

    def say(self, text: str) -> None:
        with suppress(OSError):
            typer.echo(text, err=self.as_json)

    def result(self, document: Any, text: str) -> None:
        """The answer: ``document`` for programs, ``text`` for people."""
        typer.echo(json.dumps(document, indent=2) if self.as_json else text)

    def agreed(self, question: str, yes: bool) -> bool:
        """Ask. Where nobody can answer, it is a no."""
        if yes:
            return True
        try:
            return typer.confirm(question, err=self.as_json)
        except typer.Abort:
            return False


def price(dollars: float | None) -> str:
    return "price not known" if dollars is None else f"${dollars:.2f}/h"


def moment(at: float | None) -> str | None:
    """A time as people and programs read it, in UTC."""
    return None if at is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
