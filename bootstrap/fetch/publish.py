"""A verified file gets its name and its entry in the lock."""

from __future__ import annotations

import os
import threading
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path

from bootstrap.fetch import digest, store
from bootstrap.fetch.request import Request
from bootstrap.fetch.store import Entry, Stamp
from bootstrap.fetch.transfers.transfer import FileTransfer

_lock_file = threading.Lock()


def publish(
    request: Request, transfer: FileTransfer, flushing: AbstractContextManager[None] | None = None
) -> None:
    """Give it its name, make it durable, record it; ``flushing`` is held while the disk writes it out.

    It may be loaded, from memory, while a slow disk still writes it out. Until it is recorded, a later start
    hashes it again: after a power loss, what is on the disk is not trusted.
    """
    request.still_ours()
    try:
        if transfer.descriptor is None:  # an empty file: nothing ever arrived
            transfer.part.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
            transfer.descriptor = os.open(transfer.part, flags, 0o644)
        transfer.part.replace(transfer.final)
        request.arrived(transfer.final)
        with flushing or nullcontext():
            os.fsync(transfer.descriptor)
            _sync_folder(transfer.final.parent)
    except OSError as error:
        raise store.cannot_write(transfer.final.parent, error) from error
    record(request.home, transfer)
    if transfer.journal:
        transfer.journal.remove()


def _sync_folder(folder: Path) -> None:
    with suppress(OSError):  # not every network disk can
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def record(home: Path, transfer: FileTransfer) -> None:
    """Add the file to the lock, with the states that let a later fetch check its pieces one by one."""
    stamp = Stamp.of(transfer.final)
    assert stamp is not None, "recorded a file that is not there"
    states = _states(transfer)
    found = transfer.segments[-1].digest.hexdigest()
    entry = Entry(
        bytes=transfer.file.bytes,
        basis=transfer.basis,
        stamp=stamp,
        sha256=None if transfer.by_git else found,
        git_oid=found if transfer.by_git else None,
        piece_bytes=digest.PIECE_BYTES if states else None,
        pieces=() if transfer.by_git else states,
    )
    try:
        with _lock_file:
            store.add_to_lock(home, transfer.file.kept_at, entry)
    except OSError as error:
        raise store.cannot_write(home, error) from error


def _states(transfer: FileTransfer) -> tuple[str, ...]:
    """SHA-256's state after each whole piece, as hex; empty when one is not known."""
    whole = range(transfer.file.bytes // digest.PIECE_BYTES)
    last = transfer.segments[-1]
    ends_at_border = not last.end % digest.PIECE_BYTES
    if whole and not transfer.by_git and ends_at_border and isinstance(last.digest, digest.Chain):
        transfer.states[whole[-1]] = last.digest.state()
    if not all(piece in transfer.states for piece in whole):
        return ()
    return tuple(transfer.states[piece].hex() for piece in whole)
