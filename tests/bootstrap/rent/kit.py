"""The command as people start it, in a process of its own or in this one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from bootstrap.commands.rent import app
from tests.bootstrap.rent.marketplaces import World

SOURCE = "https://example.org/v1/kinokit-1-py3-none-any.whl"


def env(world: World) -> dict[str, str]:
    """The user's account at Vast.ai."""
    return {"VAST_API_KEY": world.key, "VAST_API_KEY_ADDRESS": world.url, "KINOKIT_SOURCE": SOURCE}


def rent(world: World, *arguments: str, answer: str = "", **more: str) -> tuple[int, str]:
    """Its exit code, and all that it said, the error that leaves it, too."""
    result = CliRunner().invoke(app, [*arguments], input=answer, env=env(world) | more)
    return result.exit_code, result.output + (str(result.exception) if result.exception else "")


def document(world: World, *arguments: str) -> Any:
    """What it says to a program."""
    return json.loads(CliRunner().invoke(app, [*arguments, "--json"], env=env(world)).stdout)


def started(world: World, *arguments: str) -> subprocess.Popen[str]:
    """The real command, in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "services.cli", "rent", *arguments],
        env=os.environ | env(world),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ledger(state: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((state / "rentals.json").read_text())
    return rows
