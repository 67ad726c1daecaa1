"""Files that are replaced in one step: a reader sees the old content or the new one, never half of it."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A new path beside ``path`` to write to; it takes the place of ``path`` when the block ends well.

    Each has a name of its own, so several may write at once: the last one stays. An error removes it.
    """
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        yield part
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def replace_bytes(path: Path, data: bytes, *, mode: int | None = None, sync: bool = False) -> None:
    """Write the whole file. ``mode``: its rights from the start; ``sync``: on the disk before it counts.

    OSError when the folder is not there, not writable or full; ``path`` is then as it was.
    """
    with replacing(path) as part:
        rights = 0o666 if mode is None else mode
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, rights), "wb") as file:
            file.write(data)
            if sync:
                file.flush()
                os.fsync(file.fileno())


def replace_text(path: Path, text: str, *, mode: int | None = None, sync: bool = False) -> None:
    """``replace_bytes`` of UTF-8."""
    replace_bytes(path, text.encode(), mode=mode, sync=sync)
