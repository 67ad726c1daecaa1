"""Where fetched files are kept, and ``lock.json`` beside them: what was verified and its stamp then."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import json
import os
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from bootstrap import files
from bootstrap.choose.manifest import File, Manifest, Source
from bootstrap.errors import KitError

# Where the right digest comes from; "size": there is none, only the length
Basis = Literal["manifest", "hub", "size"]
TMPFS = 0x01021994  # of statfs(2)
LOCK_NAME = "lock.json"


def home(source: Source, *, store: Path) -> Path:
    """The folder that holds all files of a manifest with this source."""
    if source.repo:
        return store / source.repo.replace("/", "--") / (source.revision or "main")
    if source.url:
        return store / f"url--{urlsplit(source.url).hostname}--{_short(source.url)}"
    folder = local_folder(source)
    return store / f"folder--{folder.name}--{_short(str(folder))}"


def homes(store: Path) -> list[Path]:
    """The folders below which something was verified."""
    return sorted(lock.parent for depth in ("*", "*/*") for lock in store.glob(f"{depth}/{LOCK_NAME}"))


def local_folder(source: Source) -> Path:
    """A folder source's own place; loading a manifest has made it absolute."""
    assert source.folder is not None, "asked only of folder sources"
    return Path(source.folder).resolve()


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Stamp:
    """How a file looked when it was verified; while it looks the same it is not hashed again."""

    size: int
    mtime_ns: int
    inode: int

    @classmethod
    def of(cls, path: Path) -> Stamp | None:
        """``None`` when there is no such file."""
        try:
            seen = path.stat()
        except OSError:
            return None
        return cls(seen.st_size, seen.st_mtime_ns, seen.st_ino)


@dataclass(frozen=True)
class Entry:
    """One verified file in the lock."""

    bytes: int
    basis: Basis
    stamp: Stamp
    sha256: str | None = None
    git_oid: str | None = None
    piece_bytes: int | None = None
    pieces: tuple[str, ...] = field(default=())  # SHA-256's state at the end of each piece, see digest.py

    def vouches_for(self, file: File) -> bool:
        """Whether what was verified is what the manifest asks for."""
        if self.bytes != file.bytes:
            return False
        if file.sha256:
            return self.sha256 == file.sha256
        return not file.git_oid or self.git_oid == file.git_oid


Lock = dict[str, Entry]


def read_lock(home: Path) -> Lock:
    """What was verified in this folder; empty when nothing was, or the lock cannot be read."""
    try:
        document = json.loads((home / LOCK_NAME).read_text())
        return {path: _entry(entry) for path, entry in document["files"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def _entry(document: dict[str, Any]) -> Entry:
    return Entry(**{**document, "stamp": Stamp(**document["stamp"]), "pieces": tuple(document["pieces"])})


def add_to_lock(home: Path, path: str, entry: Entry) -> None:
    """Record a verified file; the caller is the ``lease.only_fetcher``."""
    lock = {**read_lock(home), path: entry}
    text = json.dumps({"version": 1, "files": {name: asdict(lock[name]) for name in sorted(lock)}}, indent=1)
    files.replace_text(home / LOCK_NAME, text)


def is_verified(file: File, home: Path, lock: Lock) -> bool:
    """Whether the file lies there as it was when its content was checked against what is asked for."""
    entry = lock.get(file.kept_at)
    return entry is not None and entry.vouches_for(file) and entry.stamp == Stamp.of(home / file.kept_at)


def missing(manifest: Manifest, home: Path) -> list[File]:
    """The files that are not there and verified."""
    lock = read_lock(home)
    return [file for file in manifest.files if not is_verified(file, home, lock)]


def boot_id() -> str:
    """Changes with every boot of the host; "unknown" where it is not told."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return "unknown"


def cannot_write(where: Path, error: OSError) -> KitError:
    """A failed write, as a sentence for the user."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return KitError(
            f"the disk of {where} is full: {free_bytes(where) / 1024**3:.2f} GiB are free",
            fix="free some space or rent a larger disk; the next start goes on where this one stopped",
        )
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return KitError(
            f"{where} cannot be written to: {error.strerror}",
            fix="choose another place with --data-dir, or mount the volume writable",
        )
    return KitError(
        f"writing to {where} failed: {error.strerror or error}",
        fix="check the disk and start again; what is already verified is kept",
    )


def free_bytes(where: Path) -> int:
    """What may still be written below this folder, which need not exist yet."""
    while not where.exists() and where != where.parent:
        where = where.parent
    seen = os.statvfs(where)
    return seen.f_bavail * seen.f_frsize


def reserve(descriptor: int, size: int) -> None:
    """Give the file its length, and its place on the disk where the file system can promise that.

    Not ``os.posix_fallocate``: on a file system that cannot, the C library writes to every block instead.
    """
    if os.fstat(descriptor).st_size == size:
        return
    os.ftruncate(descriptor, size)
    if not size or sys.platform != "linux":  # the calls below are of Linux's C library
        return
    library = ctypes.CDLL(None, use_errno=True)
    with suppress(AttributeError):
        about = (ctypes.c_long * 32)()
        if library.fstatfs(descriptor, about) == 0 and about[0] == TMPFS:
            return  # it would clear all the memory at once
        library.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
        if library.fallocate(descriptor, 0, 0, size) != 0:
            code = ctypes.get_errno()
            if code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise OSError(code, os.strerror(code))
