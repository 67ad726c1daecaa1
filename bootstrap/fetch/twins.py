"""Files with the same content lie once on a volume: a second model or revision gets a link, no download.

The locks of all folders are the store by digest: each says which content was verified where. A twin is hashed
again before it is linked, so that damage does not spread, and a file without a digest has no twin.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from bootstrap.choose.manifest import File
from bootstrap.fetch import store
from bootstrap.fetch.store import Entry, Stamp

CLONE = 0x40049409  # FICLONE of ioctl_ficlone(2): a copy that shares its blocks until one of the two changes
FULL = (errno.ENOSPC, errno.EDQUOT)


class Twins:
    """What all folders of a store hold; read once, when it is first asked."""

    def __init__(self, top: Path) -> None:
        self._top = top.resolve()
        self._known: dict[str, list[tuple[Path, Entry]]] | None = None

    def find(self, file: File, *, but: Path) -> tuple[Path, Entry] | None:
        """Where the content that is asked for was verified and looks as it did, other than at ``but``."""
        if self._known is None:
            self._known = self._read()
        for path, entry in self._known.get(file.sha256 or file.git_oid or "", []):
            real = path.resolve()
            if (
                self.holds(real)
                and real != but.resolve()
                and entry.vouches_for(file)
                and entry.stamp == Stamp.of(real)
            ):
                return real, entry
        return None

    def holds(self, path: Path) -> bool:
        return path.resolve().is_relative_to(self._top)

    def _read(self) -> dict[str, list[tuple[Path, Entry]]]:
        found: dict[str, list[tuple[Path, Entry]]] = {}
        for home in store.homes(self._top):
            for name, entry in store.read_lock(home).items():
                for content in (entry.sha256, entry.git_oid):
                    if content:
                        found.setdefault(content, []).append((home / name, entry))
        return found


def share(original: Path, final: Path) -> None:
    """Give the file a second place: by the first of the ways that the file system knows.

    OSError when the original is gone meanwhile, or the disk is full.
    """
    link = final.with_name(final.name + ".link")
    final.parent.mkdir(parents=True, exist_ok=True)
    for way in (os.link, _clone, point, shutil.copyfile):
        link.unlink(missing_ok=True)
        try:
            way(original, link)
            link.stat()
        except OSError as error:
            if way is shutil.copyfile or error.errno in FULL or not original.exists():
                link.unlink(missing_ok=True)
                raise
            continue
        link.replace(final)
        link.unlink(missing_ok=True)  # it stays where both were the same file before
        return


def _clone(original: Path, link: Path) -> None:
    with original.open("rb") as source, link.open("xb") as copy:
        fcntl.ioctl(copy, CLONE, source.fileno())


def point(original: Path, link: Path) -> None:
    """Relative: the volume may be mounted elsewhere in the next box."""
    link.symlink_to(os.path.relpath(original, link.parent.resolve()))


def is_shared(path: Path) -> bool:
    """Whether what is written into this file would be seen at another place as well."""
    return path.is_symlink() or path.stat().st_nlink > 1


def separate(path: Path, own: Path) -> None:
    """Move a shared file to ``own``, where it may be written to: the others keep theirs."""
    own.unlink(missing_ok=True)
    try:
        copy: Callable[[Path, Path], object]
        for copy in (_clone, shutil.copyfile):
            with suppress(OSError):
                own.unlink(missing_ok=True)
                copy(path, own)
                return
        own.unlink(missing_ok=True)  # no room for a copy: it is fetched as a whole
    finally:
        path.unlink()
