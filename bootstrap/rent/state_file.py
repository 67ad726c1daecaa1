"""A file of this machine that outlives every command: a list of JSON objects, changed in one step."""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bootstrap import files
from bootstrap.errors import KitError

Rows = list[dict[str, Any]]


def folder(env: Mapping[str, str]) -> Path:
    """Where programs keep what they must remember: $XDG_STATE_HOME, else ~/.local/state."""
    base = env.get("XDG_STATE_HOME") or ""
    root = Path(base) if base.startswith("/") else Path(env.get("HOME") or "~").expanduser() / ".local/state"
    return root / "kinokit"


class StateFile:
    """Only its owner reads it. ``warn`` receives a line when a damaged file was put aside."""

    def __init__(self, path: Path, warn: Callable[[str], None]) -> None:
        self.path = path
        self._warn = warn

    def read(self) -> Rows:
        """What it holds; nothing when it is not there. KitError when it may not be read."""
        try:
            found = json.loads(self.path.read_bytes())
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self._unusable(error) from error
        except ValueError:
            return self._put_aside()
        if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
            return self._put_aside()
        return found

    @contextmanager
    def changing(self) -> Iterator[Rows]:
        """The list, to be changed in place; on the disk when the block ends. Others wait meanwhile."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with self.path.with_suffix(".lock").open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                rows = self.read()
                yield rows
                text = json.dumps(rows, indent=1) + "\n"
                files.replace_text(self.path, text, mode=0o600, sync=True)
        except OSError as error:
            raise self._unusable(error) from error

    def _put_aside(self) -> Rows:
        aside = self.path.with_name(f"{self.path.name}.damaged-{time.time():.0f}")
        try:
            self.path.rename(aside)
        except OSError as error:
            raise self._unusable(error) from error
        self._warn(f"{self.path} was damaged and is now {aside.name}; the marketplaces still know every box")
        return []

    def _unusable(self, error: OSError) -> KitError:
        return KitError(
            f"{self.path} cannot be used: {error.strerror or error}",
            fix="make its folder writable, free space there, or set XDG_STATE_HOME to another folder",
        )
