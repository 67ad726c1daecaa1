"""The command line. A command's module is imported when it is used: ``kinokit up`` waits for no other."""

from __future__ import annotations

import importlib
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from bootstrap import __version__
from bootstrap.errors import KitError

# name: module, what it offers (a function or an application), one line for the list of commands
COMMANDS: dict[str, tuple[str, str, str]] = {
    "up": ("bootstrap.commands.up", "up", "Start the service: the page first, then the model."),
    "down": ("bootstrap.commands.down", "down", "End the service and wait until it has ended."),
    "status": (
        "bootstrap.commands.status",
        "status",
        "How it stands; exit code 0 ready, 3 booting, 1 otherwise.",
    ),
    "logs": ("bootstrap.commands.logs", "logs", "Show the logs of the agent, the front or the workers."),
    "plan": (
        "bootstrap.commands.plan",
        "plan",
        "Show what would run on this machine, and why. Touches nothing.",
    ),
    "fetch": ("bootstrap.commands.fetch", "fetch", "Download and verify a model's files, and no more."),
    "models": (
        "bootstrap.commands.models",
        "app",
        "List all models and what fits; make room for others.",
    ),
    "startup": ("bootstrap.commands.startup", "startup", "Print what to paste and type on a marketplace."),
    "rent": ("bootstrap.commands.rent", "app", "Rent a GPU with your own key: offers, start, list, stop."),
    "cost": ("bootstrap.commands.cost", "cost", "Compare renting, owning and commercial APIs."),
    "config": ("bootstrap.commands.config", "config", "Show every setting and where it came from."),
    "manifest": ("bootstrap.commands.manifest", "app", "Check model manifests and fill in their hashes."),
}


class Commands(TyperGroup):
    """Typer's group: listed from the table; a command's module is imported when the command is run."""

    table = COMMANDS

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = {name: TyperCommand(name, help=row[2]) for name, row in self.table.items()}

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, listed, rest = super().resolve_command(ctx, args)
        return name, listed and self._imported(str(name)), rest

    def _imported(self, name: str) -> Any:
        module, attribute, _summary = self.table[name]
        found = getattr(importlib.import_module(module), attribute)
        if isinstance(found, typer.Typer):
            return typer.main.get_command(found)
        alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        alone.command(name)(found)
        return typer.main.get_command(alone)


def _show_version(asked: bool) -> None:
    """Show the kit's version."""
    if asked:
        typer.echo(f"kinokit {__version__}")
        raise typer.Exit


def application(group: type[TyperGroup]) -> typer.Typer:
    app = typer.Typer(
        cls=group,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        help="Paste one line on a rented GPU; get a video studio and a video API.",
    )
    app.callback()(_options)
    return app


def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """What every command has before its name."""


def run(group: type[TyperGroup] = Commands) -> None:
    """The one door through which errors leave: a problem and its fix, or a traceback for a bug."""
    try:
        application(group)()
    except KitError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        sys.exit(error.exit_code)


app = application(Commands)
