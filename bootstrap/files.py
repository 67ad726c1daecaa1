"""Files that are replaced in one step, and files and folders that a power cut does not take away.

A reader of a replaced file sees the old content or the new one, never half of it.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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


def sync(path: Path) -> None:
    """What the file holds, or the names in a folder, are on the disk when this returns. OSError if not."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network volumes have no fsync of folders
            raise
    finally:
        os.close(fd)


def make_folder(folder: Path) -> None:
    """With those above it; all of them are on the disk when this returns."""
    if not folder.is_dir():
        make_folder(folder.parent)
        with suppress(FileExistsError):
            folder.mkdir()
        sync(folder.parent)
