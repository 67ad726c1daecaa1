"""Where received bytes go: to the disk, and to the hash while they are still in memory."""

from __future__ import annotations

import os
import time

from bootstrap.errors import KitError
from bootstrap.fetch import store
from bootstrap.fetch.digest import PIECE_BYTES
from bootstrap.fetch.errors import TryAgain
from bootstrap.fetch.http.origin import Origin
from bootstrap.fetch.transfers.control import Control
from bootstrap.fetch.transfers.hashing import Hashing
from bootstrap.fetch.transfers.mirrors import Mirrors
from bootstrap.fetch.transfers.segments import HashSegment
from bootstrap.fetch.transfers.transfer import FileTransfer, Range


class Landing:
    """Writes what connections received; hashes it in the same thread where the hash has come so far."""

    def __init__(self, control: Control, hashing: Hashing, mirrors: Mirrors) -> None:
        self._control = control
        self._hashing = hashing
        self._mirrors = mirrors

    def land(self, wanted: Range, block: memoryview, size: int) -> tuple[memoryview, bool]:
        """Write and hash the first ``size`` bytes of a connection's block.

        Returns the block to receive into next, which may be another one, and whether the connection should
        go on with this range.
        """
        control, transfer = self._control, wanted.transfer
        with control.lock:
            start = wanted.pos
            count = transfer.claim(wanted, size)
            segment = transfer.segment_of(wanted.piece)
            control.received += count
            if count:
                self._mirrors.clear_nonsense()
            inline = count > 0 and segment.hashed == start and not segment.busy
            if inline:
                segment.busy = True
            descriptor = transfer.descriptor
        if not count or descriptor is None:
            return block, False
        view = block[:count]
        self._write(transfer, descriptor, view, start)
        if inline:
            segment.digest.update(view)
        with control.lock:
            if wanted.generation != transfer.generation:
                return block, False
            wanted.written = start + count
            if not inline and start >= segment.hashed:
                block = self._hashing.hold(segment, start, block, count)
            self._wrote(transfer, wanted.piece, count, (segment, start + count) if inline else None)
        return block, count == size

    def land_whole(self, transfer: FileTransfer, view: memoryview, offset: int) -> None:
        """Write and hash what a reader of the whole file received; pieces that are there are passed over."""
        while len(view):
            piece = offset // PIECE_BYTES
            count = min(len(view), transfer.bounds(piece)[1] - offset)
            if transfer.left[piece] and transfer.descriptor is not None:
                self._land_whole(transfer, piece, view[:count], offset, transfer.descriptor)
            view, offset = view[count:], offset + count

    def _land_whole(
        self, transfer: FileTransfer, piece: int, view: memoryview, offset: int, descriptor: int
    ) -> None:
        end = offset + len(view)
        with self._control.lock:
            self._control.received += len(view)
            segment = transfer.segment_of(piece)
            inline = offset <= segment.hashed < end and not segment.busy
            segment.busy = segment.busy or inline
        self._write(transfer, descriptor, view, offset)
        if inline:
            segment.digest.update(view[segment.hashed - offset :])
        with self._control.lock:
            self._wrote(transfer, piece, len(view), (segment, end) if inline else None)

    def check_version(self, transfer: FileTransfer, etag: str | None, origin: Origin) -> None:
        """Where no digest is known, at least no two versions of a file are mixed.

        Raises TryAgain when the file changed, and KitError when it changed twice.
        """
        if transfer.expected is not None or etag is None or etag.startswith("W/"):
            return
        with self._control.lock:
            before, transfer.etag = transfer.etag, etag
            if before not in (None, etag):
                if transfer.restarts:
                    raise KitError(
                        f"{transfer.file.path} changes on {origin} while it is fetched",
                        fix="start again when it is complete",
                    )
                self._hashing.restart(transfer)
                raise TryAgain(f"{transfer.file.path} changed on {origin} and is fetched again")

    def _write(self, transfer: FileTransfer, descriptor: int, view: memoryview, offset: int) -> None:
        try:
            began = time.monotonic()
            with transfer.writing:
                while len(view):
                    count = os.pwrite(descriptor, view, offset)
                    view, offset = view[count:], offset + count
                self._control.write_seconds += time.monotonic() - began
        except OSError as error:
            raise store.cannot_write(transfer.final.parent, error) from error

    def _wrote(
        self, transfer: FileTransfer, piece: int, count: int, hashed: tuple[HashSegment, int] | None
    ) -> None:
        """Count what was written before judging it: a judgement may plan the pieces again."""
        if transfer.wrote(piece, count) and transfer.journal:
            transfer.journal.written(piece)
        if hashed is not None:
            self._hashing.hashed(transfer, *hashed)
        self._hashing.look(transfer, transfer.segment_of(piece))
