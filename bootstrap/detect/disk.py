"""The disk of a directory: how much is free, and how fast it takes data."""

from __future__ import annotations

import os
import secrets
import shutil
import time
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from bootstrap.detect.machine import Finding

# Below this the disk is slower than a rented host's network usually is.
SLOW_BYTES_PER_SECOND = 100e6
PROBE_BYTES = 64 * 1024 * 1024
CHUNK_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class Rates:
    """Bytes a second; ``None`` is not known."""

    write: float | None = None
    read: float | None = None


def free_bytes(path: Path) -> int | None:
    """Free for this user at the path, or at the nearest folder above it that exists; creates nothing."""
    for folder in (path, *path.absolute().parents):
        try:
            return shutil.disk_usage(folder).free
        except FileNotFoundError:
            continue
        except OSError:
            return None
    return None


def rates(folder: Path, *, most_seconds: float = 2.0) -> Rates:
    """Bytes a second to and from the disk, from a file of 64 MiB that is removed again.

    None when nothing can be written.
    Random bytes, so that a compressing file system is not measured too fast; synced, so that memory is not.
    """
    path = folder / f".probe-{os.getpid()}-{secrets.token_hex(4)}"
    try:
        with path.open("w+b", buffering=0) as file:
            written = _written(file, most_seconds)
            return Rates(written, _read(file, most_seconds))
    except OSError:
        return Rates()
    finally:
        path.unlink(missing_ok=True)


def _written(file: FileIO, most_seconds: float) -> float:
    chunk = os.urandom(CHUNK_BYTES)
    sync = getattr(os, "fdatasync", os.fsync)  # macOS has the second alone
    count, started = 0, time.monotonic()
    while count < PROBE_BYTES and time.monotonic() - started < most_seconds:
        count += file.write(chunk)
        sync(file.fileno())
    return count / max(time.monotonic() - started, 1e-6)


def _read(file: FileIO, most_seconds: float) -> float | None:
    """None where the kernel cannot be asked to forget what was written: memory would be measured."""
    if not hasattr(os, "posix_fadvise"):
        return None
    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    file.seek(0)
    count, started = 0, time.monotonic()
    while time.monotonic() - started < most_seconds:
        chunk = file.read(CHUNK_BYTES)
        if not chunk:
            break
        count += len(chunk)
    return count / max(time.monotonic() - started, 1e-6)


def findings(folder: Path, rate: float | None) -> tuple[Finding, ...]:
    """A network volume is often slower than the network: the user should know before the download."""
    if rate is None or rate >= SLOW_BYTES_PER_SECOND:
        return ()
    seconds_per_gb = 1e9 / rate
    return (
        Finding(
            "disk_slow",
            f"the disk at {folder} takes {rate / 1e6:.0f} MB a second: each GB takes {seconds_per_gb:.0f} s",
            "choose the machine's own disk with --data-dir, or another host, if the start is too slow",
        ),
    )
