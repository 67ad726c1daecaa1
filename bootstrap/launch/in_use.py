"""Which folders of the store the boxes of a volume work with now."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bootstrap import data_directory, volume
from bootstrap.errors import KitError


def folders(data_dir: Path) -> dict[Path, str]:
    """Folder -> the data directory of the running box that reads it.

    Raises:
        KitError: one of them runs and has not decided yet what it needs.
    """
    top, found = volume.top(data_dir), {}
    for box in (top, *volume.boxes(top)):
        if not volume.is_alive(box):
            continue
        plans = [box / data_directory.PLAN, box / data_directory.DRAFT]
        read = [plan for plan in map(_read, plans) if plan is not None]
        if not read:
            raise KitError(
                f"something of kinokit is at work in {box}, and what it needs is not decided yet",
                fix="try again in a minute, or end it: kinokit down",
            )
        for plan in read:
            found.update({folder: str(box) for folder in _folders(plan, volume.models(top))})
    return found


def _read(path: Path) -> dict[str, Any] | None:
    try:
        plan = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return plan if isinstance(plan, dict) else None


def _folders(plan: dict[str, Any], store: Path) -> Iterator[Path]:
    """Another box may have mounted the volume elsewhere: what counts is the path below ``models``."""
    for component in [*dict(plan.get("components") or {}).values(), plan.get("config") or ""]:
        parts = Path(str(component)).parts
        for at, part in enumerate(parts):
            if part == store.name:
                below = parts[at + 1 :]
                depth = 1 if below and below[0].startswith(("url--", "folder--")) else 2
                if (store / Path(*below[:depth])).is_dir():
                    yield store / Path(*below[:depth])
