"""The last boots of a data directory, a file each: the boot document when it was ready, failed or ended."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from bootstrap import files

log = logging.getLogger("kinokit.agent")

FOLDER = "boots"
KEPT = 20


def keep(data_dir: Path, document: Mapping[str, Any]) -> None:
    """Write this boot, over its earlier self; the oldest beyond 20 go. A full disk is no reason to fail."""
    folder = data_dir / FOLDER
    path = folder / f"{document['started_at']:.3f}.json"
    try:
        folder.mkdir(exist_ok=True)
        files.replace_text(path, json.dumps(document))
        for old in _files(folder)[KEPT:]:
            old.unlink(missing_ok=True)
    except OSError as error:
        log.warning("the timeline of this boot could not be kept: %s", error)


def last(data_dir: Path, *, model: str | None = None) -> list[dict[str, Any]]:
    """The boots that are kept, newest first; of one model only when it is named."""
    found = []
    for path in _files(data_dir / FOLDER):
        with suppress(OSError, ValueError):
            document = json.loads(path.read_bytes())
            if isinstance(document, dict) and model in (None, document.get("model")):
                found.append(document)
    return found


def _files(folder: Path) -> list[Path]:
    """Newest first."""

    def started_at(path: Path) -> float:
        with suppress(ValueError):
            return float(path.stem)
        return 0.0

    return sorted(folder.glob("*.json"), key=started_at, reverse=True)
