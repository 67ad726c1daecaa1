"""The hashing threads, and what follows when a segment turns out right or wrong."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable

from bootstrap.errors import KitError
from bootstrap.fetch import digest
from bootstrap.fetch.digest import PIECE_BYTES
from bootstrap.fetch.journal import Claims
from bootstrap.fetch.transfers import concurrency
from bootstrap.fetch.transfers.control import Control
from bootstrap.fetch.transfers.segments import HashSegment
from bootstrap.fetch.transfers.transfer import FileTransfer

BLOCK_BYTES = 4 * 1024**2  # measured: with 1 MiB a GiB costs a quarter more processor time
MOST_HELD_BLOCKS = 16  # where connections are ahead of the hash


class Hashing:
    """Hashes what lies on the disk and was not hashed when it arrived; judges each segment at its end.

    ``finish`` is called, in a hashing thread, for each file that is verified.
    """

    def __init__(self, control: Control, *, finish: Callable[[FileTransfer], None]) -> None:
        self._control = control
        self._lock = control.lock
        self._finish = finish
        self._stopping = False
        self._queue: queue.SimpleQueue[tuple[FileTransfer, HashSegment] | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._held_blocks = 0
        self._spare: list[memoryview] = []

    def start(self) -> None:
        for _ in range(concurrency.cores()):
            thread = threading.Thread(target=self._hash, name="hash", daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Ask the threads to end; ``join`` waits until they have."""
        self._stopping = True
        for _ in self._threads:
            self._queue.put(None)

    def join(self, seconds: float) -> None:
        for thread in self._threads:
            thread.join(seconds)

    def look(self, transfer: FileTransfer, segment: HashSegment | None = None) -> None:
        """Give to the hashing threads what can be hashed from the disk now, or the file when it is done."""
        for each in [segment] if segment else transfer.segments:
            if transfer.ready(each) is not None:
                each.busy = True
                self._queue.put((transfer, each))
        if transfer.verified and not transfer.closing:
            transfer.closing = True
            self._queue.put((transfer, transfer.segments[-1]))

    def _hash(self) -> None:
        block = bytearray(BLOCK_BYTES)
        while (item := self._queue.get()) is not None:
            if self._stopping:
                continue
            try:
                self._hash_one(*item, block)
            except BaseException as error:
                self._control.fail(error)

    def _hash_one(self, transfer: FileTransfer, segment: HashSegment, block: bytearray) -> None:
        if transfer.verified:
            transfer.state = "verifying"
            self._finish(transfer)
            with self._lock:
                transfer.finished = True
                transfer.state = "done"
                self._lock.notify_all()
            return
        with self._lock:
            segment.busy = False
            end = transfer.ready(segment)
            if end is None:
                return
            segment.busy = True
        offset = segment.hashed
        while offset < end and not self._stopping:
            offset += self._hash_block(transfer, segment, offset, end, block)
        with self._lock:
            if self._stopping:
                return
            self.hashed(transfer, segment, end)
            self.look(transfer, segment)
            self._lock.notify_all()

    def _hash_block(
        self, transfer: FileTransfer, segment: HashSegment, offset: int, end: int, block: bytearray
    ) -> int:
        """Hash the next bytes, from memory where they are held, else from the disk; returns how many."""
        with self._lock:
            held = segment.held.get(offset)
            if held is None:
                end = min([end, *(start for start in segment.held if start > offset)])
        view = self._read(transfer, offset, end, block) if held is None else held
        segment.digest.update(view)
        if held is not None:
            with self._lock:
                self._release(segment, offset)
        elif not transfer.mirrors:
            transfer.fetched_bytes += len(view)
        return len(view)

    def _read(self, transfer: FileTransfer, offset: int, end: int, block: bytearray) -> memoryview:
        assert transfer.descriptor is not None, "hashed a file that is not open"
        view = memoryview(block)[: end - offset]
        count = os.preadv(transfer.descriptor, [view], offset)
        if count == 0:
            raise KitError(
                f"{transfer.final} became shorter while it was read",
                fix="do not change files while they are verified",
            )
        return view[:count]

    def hold(self, segment: HashSegment, start: int, block: memoryview, count: int) -> memoryview:
        """Keep what was just written in memory for its hash, if there is room; called under the lock.

        Returns the block to receive into next: another one, or the same.
        """
        if self._held_blocks >= MOST_HELD_BLOCKS:
            return block
        self._held_blocks += 1
        segment.held[start] = block[:count]
        return self._spare.pop() if self._spare else new_block()

    def _release(self, segment: HashSegment, start: int) -> None:
        held = segment.held.pop(start, None)
        if held is not None:  # else the segment was begun again meanwhile
            self._held_blocks -= 1
            self._spare.append(memoryview(held.obj))

    def _release_all(self, segment: HashSegment) -> None:
        for start in list(segment.held):
            self._release(segment, start)

    def hashed(self, transfer: FileTransfer, segment: HashSegment, end: int) -> None:
        """A segment is hashed up to here, by any thread; called under the lock."""
        segment.hashed = end
        segment.busy = False
        self._border(transfer, segment)

    def _border(self, transfer: FileTransfer, segment: HashSegment) -> None:
        """After hashing: keep the state at a piece's end, and judge a segment that is done."""
        if segment.hashed % PIECE_BYTES and not segment.done:
            return
        if segment.done:
            self._judge(transfer, segment)
        elif isinstance(segment.digest, digest.Chain):
            piece = segment.hashed // PIECE_BYTES - 1
            transfer.states[piece] = segment.digest.state()
            if transfer.journal:
                transfer.journal.state(piece, transfer.states[piece])

    def _judge(self, transfer: FileTransfer, segment: HashSegment) -> None:
        if segment.target is not None:
            assert isinstance(segment.digest, digest.Chain), "a state was known that cannot be computed here"
            right = segment.digest.state() == segment.target
        else:
            right = transfer.expected is None or segment.digest.hexdigest() == transfer.expected
        first = segment.start // PIECE_BYTES
        if right:
            if transfer.journal and segment.end - segment.start <= PIECE_BYTES:
                transfer.journal.verified(first)
            return
        found = segment.digest.hexdigest()
        if not transfer.mirrors:
            transfer.bad.update(range(first, -(-segment.end // PIECE_BYTES)))
            return
        if len(transfer.segments) > 1 and segment.end - segment.start <= PIECE_BYTES:
            self._again(transfer, segment, first)
        elif transfer.restarts == 0:
            self.restart(transfer)
        else:
            raise Damaged(transfer, found)

    def _again(self, transfer: FileTransfer, segment: HashSegment, piece: int) -> None:
        """One piece is wrong: fetch it once more. If it is wrong again, the kept states are not trusted."""
        transfer.strikes[piece] = transfer.strikes.get(piece, 0) + 1
        if transfer.strikes[piece] > 1:
            transfer.restarts = 1
            self._set_segments(transfer)
            return
        self._release_all(segment)
        segment.digest, segment.hashed = digest.sha256(segment.before, segment.start), segment.start
        transfer.refetch(piece)
        transfer.state = "running"
        self._control.warn(
            f"{transfer.file.path}: 16 MiB at {segment.start} arrived damaged and were fetched again"
        )
        self._lock.notify_all()

    def restart(self, transfer: FileTransfer) -> None:
        """The whole file is wrong and it is not known where: fetch all of it once more."""
        transfer.restarts += 1
        transfer.plan(set())
        self._set_segments(transfer)
        transfer.state = "running"
        if transfer.journal and transfer.descriptor is not None:
            transfer.journal.begin(Claims())
        self._control.warn(f"{transfer.file.path} arrived damaged and is fetched again")
        self._lock.notify_all()

    def _set_segments(self, transfer: FileTransfer) -> None:
        """Hash from the front again, without the states that were kept."""
        for segment in transfer.segments:
            self._release_all(segment)
        transfer.known = 0
        transfer.states.clear()
        transfer.set_segments()


def new_block() -> memoryview:
    """What a connection receives into."""
    return memoryview(bytearray(BLOCK_BYTES))


class Damaged(KitError):
    """What was fetched twice is not what was expected."""

    def __init__(self, transfer: FileTransfer, found: str) -> None:
        super().__init__(
            f"{transfer.file.path} from {transfer.mirrors[0].name} is damaged: its digest is {found},"
            f" expected {transfer.expected} (fetched twice)",
            fix="try a mirror or another network; if it stays so, the manifest's digest is wrong",
        )
