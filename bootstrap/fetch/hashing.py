"""The hashing threads, and what becomes of a stretch that turns out right or wrong."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable

from bootstrap.errors import KitError
from bootstrap.fetch import concurrency, digest
from bootstrap.fetch.digest import PIECE_BYTES
from bootstrap.fetch.journal import Claims
from bootstrap.fetch.transfer import Lane, Work

BLOCK_BYTES = 4 * 1024**2  # measured: with 1 MiB a GiB costs a quarter more processor time
MOST_HELD_BLOCKS = 16  # where connections are ahead of the hash


class Hashing:
    """Hashes what lies on the disk and was not hashed when it arrived; judges each lane at its end.

    ``lock`` is the engine's. ``finish`` is called, in a hashing thread, for each work that is verified;
    ``fail`` takes what ends the fetch, ``warn`` what the user should know of.
    """

    def __init__(
        self,
        lock: threading.Condition,
        *,
        finish: Callable[[Work], None],
        fail: Callable[[BaseException], None],
        warn: Callable[[str], None],
    ) -> None:
        self._lock = lock
        self._finish = finish
        self._fail = fail
        self._warn = warn
        self._stopping = False
        self._queue: queue.SimpleQueue[tuple[Work, Lane] | None] = queue.SimpleQueue()
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

    def look(self, work: Work, lane: Lane | None = None) -> None:
        """Give to the hashing threads what can be hashed from the disk now, or the file when it is done."""
        for each in [lane] if lane else work.lanes:
            if work.ready(each) is not None:
                each.busy = True
                self._queue.put((work, each))
        if work.verified and not work.closing:
            work.closing = True
            self._queue.put((work, work.lanes[-1]))

    def _hash(self) -> None:
        block = bytearray(BLOCK_BYTES)
        while (item := self._queue.get()) is not None:
            if self._stopping:
                continue
            try:
                self._hash_one(*item, block)
            except BaseException as error:
                self._fail(error)

    def _hash_one(self, work: Work, lane: Lane, block: bytearray) -> None:
        if work.verified:
            work.state = "verifying"
            self._finish(work)
            with self._lock:
                work.finished = True
                work.state = "done"
                self._lock.notify_all()
            return
        with self._lock:
            lane.busy = False
            end = work.ready(lane)
            if end is None:
                return
            lane.busy = True
        offset = lane.hashed
        while offset < end and not self._stopping:
            offset += self._hash_block(work, lane, offset, end, block)
        with self._lock:
            if self._stopping:
                return
            self.hashed(work, lane, end)
            self.look(work, lane)
            self._lock.notify_all()

    def _hash_block(self, work: Work, lane: Lane, offset: int, end: int, block: bytearray) -> int:
        """Hash the next bytes, from memory where they are held, else from the disk; how many it were."""
        with self._lock:
            held = lane.held.get(offset)
            if held is None:
                end = min([end, *(start for start in lane.held if start > offset)])
        view = self._read(work, offset, end, block) if held is None else held
        lane.digest.update(view)
        if held is not None:
            with self._lock:
                self._release(lane, offset)
        elif not work.sites:
            work.fetched_bytes += len(view)
        return len(view)

    def _read(self, work: Work, offset: int, end: int, block: bytearray) -> memoryview:
        assert work.descriptor is not None, "hashed a file that is not open"
        view = memoryview(block)[: end - offset]
        count = os.preadv(work.descriptor, [view], offset)
        if count == 0:
            raise KitError(
                f"{work.final} became shorter while it was read",
                fix="do not change files while they are verified",
            )
        return view[:count]

    def hold(self, lane: Lane, start: int, block: memoryview, count: int) -> memoryview:
        """Keep what was just written in memory for its hash, if there is room; called under the lock.

        Returns the block to receive into next: another one, or the same.
        """
        if self._held_blocks >= MOST_HELD_BLOCKS:
            return block
        self._held_blocks += 1
        lane.held[start] = block[:count]
        return self._spare.pop() if self._spare else new_block()

    def _release(self, lane: Lane, start: int) -> None:
        held = lane.held.pop(start, None)
        if held is not None:  # else the lane began anew meanwhile
            self._held_blocks -= 1
            self._spare.append(memoryview(held.obj))

    def _release_all(self, lane: Lane) -> None:
        for start in list(lane.held):
            self._release(lane, start)

    def hashed(self, work: Work, lane: Lane, end: int) -> None:
        """A lane is hashed up to here, by whoever; called under the lock."""
        lane.hashed = end
        lane.busy = False
        self._border(work, lane)

    def _border(self, work: Work, lane: Lane) -> None:
        """After hashing: keep the state at a piece's end, and judge a lane that is done."""
        if lane.hashed % PIECE_BYTES and not lane.done:
            return
        if lane.done:
            self._judge(work, lane)
        elif isinstance(lane.digest, digest.Chain):
            piece = lane.hashed // PIECE_BYTES - 1
            work.states[piece] = lane.digest.state()
            if work.journal:
                work.journal.state(piece, work.states[piece])

    def _judge(self, work: Work, lane: Lane) -> None:
        if lane.target is not None:
            assert isinstance(lane.digest, digest.Chain), "a state was known that cannot be computed here"
            right = lane.digest.state() == lane.target
        else:
            right = work.expected is None or lane.digest.hexdigest() == work.expected
        first = lane.start // PIECE_BYTES
        if right:
            if work.journal and lane.end - lane.start <= PIECE_BYTES:
                work.journal.verified(first)
            return
        found = lane.digest.hexdigest()
        if not work.sites:
            work.bad.update(range(first, -(-lane.end // PIECE_BYTES)))
            return
        if len(work.lanes) > 1 and lane.end - lane.start <= PIECE_BYTES:
            self._again(work, lane, first)
        elif work.restarts == 0:
            self.restart(work)
        else:
            raise Damaged(work, found)

    def _again(self, work: Work, lane: Lane, piece: int) -> None:
        """One piece is wrong: fetch it once more. Wrong again, the kept states themselves are doubted."""
        work.strikes[piece] = work.strikes.get(piece, 0) + 1
        if work.strikes[piece] > 1:
            work.restarts = 1
            self._set_lanes(work)
            return
        self._release_all(lane)
        lane.digest, lane.hashed = digest.sha256(lane.before, lane.start), lane.start
        work.refetch(piece)
        work.state = "running"
        self._warn(f"{work.file.path}: 16 MiB at {lane.start} arrived damaged and were fetched again")
        self._lock.notify_all()

    def restart(self, work: Work) -> None:
        """The whole file is wrong and nobody knows where: fetch all of it once more."""
        work.restarts += 1
        work.plan(set())
        self._set_lanes(work)
        work.state = "running"
        if work.journal and work.descriptor is not None:
            work.journal.begin(Claims())
        self._warn(f"{work.file.path} arrived damaged and is fetched again")
        self._lock.notify_all()

    def _set_lanes(self, work: Work) -> None:
        """Hash from the front again, without the states that were kept."""
        for lane in work.lanes:
            self._release_all(lane)
        work.known = 0
        work.states.clear()
        work.set_lanes()


def new_block() -> memoryview:
    """What a connection receives into."""
    return memoryview(bytearray(BLOCK_BYTES))


class Damaged(KitError):
    """What was fetched twice is not what was expected."""

    def __init__(self, work: Work, found: str) -> None:
        super().__init__(
            f"{work.file.path} from {work.sites[0].name} is damaged: its digest is {found}, expected"
            f" {work.expected} (fetched twice)",
            fix="try a mirror or another network; if it stays so, the manifest's digest is wrong",
        )
