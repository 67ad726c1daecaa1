"""The engine: hands out parts to connections, takes what arrives, and watches over them."""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from bootstrap.fetch import concurrency, store
from bootstrap.fetch import errors as trouble
from bootstrap.fetch.digest import PIECE_BYTES
from bootstrap.fetch.errors import TryAgain
from bootstrap.fetch.hashing import Hashing
from bootstrap.fetch.mirrors import Sites
from bootstrap.fetch.stream import Stream
from bootstrap.fetch.transfer import Lane, Part, Work

SMALLEST_NEAR_BYTES = 4 * 1024**2
PROGRESS_BYTES = 64 * 1024  # less than this in all the time that we are patient is no progress
SLOWEST_BYTES_PER_SECOND = 512
SMALLEST_SHARE_BYTES = 1024**2  # a request more for less than this costs more than it brings
ACTIVE_FILES = 2  # few, so that what is loaded first is there first
CONNECTIONS_A_FILE = 8  # with more of them the link is faster than one hash, and as many files keep up


@dataclass(frozen=True)
class Patience:
    """How long to wait for what, in seconds."""

    without_progress: float = 120.0
    to_begin: float = 45.0  # nothing at all has arrived yet: more likely a mistake than a hiccup
    stalled: float = 10.0
    strikes: int = 5  # nonsense answers in a row, before a site is dropped


class Engine:
    """Fetches and hashes all works; ``finish`` is called, in a hashing thread, for each that is verified."""

    def __init__(
        self,
        works: list[Work],
        *,
        finish: Callable[[Work], None],
        connections: int | None = None,
        patience: Patience | None = None,
    ) -> None:
        self.works = works
        self.patience = patience or Patience()
        self.lock = threading.Condition()
        self.failure: BaseException | None = None
        self.stopping = False
        self.received = 0
        self.trouble: str | None = None
        self.write_seconds = 0.0
        self.paused_until = 0.0
        self.sites = Sites(self.lock)
        self.hashing = Hashing(self.lock, finish=finish, fail=self.fail, warn=self._warned)
        self._growth = concurrency.Growth(concurrency.most_connections(), fixed=connections)
        self._streams: list[Stream] = []
        self.progress_at = time.monotonic()
        self._progress_mark = 0

    # ---- the loop -------------------------------------------------------------------------------------

    def run(self, tell: Callable[[], None]) -> None:
        """Work until all is verified; raises the first failure. ``tell`` is called many times a second."""
        try:
            self._start()
            while True:
                with self.lock:
                    if self.failure is not None:
                        raise self.failure
                    if all(work.finished for work in self.works):
                        return
                    self._watch(time.monotonic())
                    self.lock.wait(0.05)
                tell()
        finally:
            self._stop()

    def _start(self) -> None:
        self.hashing.start()
        with self.lock:
            for work in self.works:
                if work.claims.written:
                    self.prepare(work)
                self.hashing.look(work)
            self._grow()

    def _grow(self) -> None:
        missing = sum(sum(work.left) for work in self.works if work.sites and not work.finished)
        wanted = min(self._growth.target, -(-missing // SMALLEST_SHARE_BYTES))
        alive = [stream for stream in self._streams if stream.is_alive()]
        self._streams = alive
        for _ in range(wanted - len(alive)):
            stream = Stream(self, len(self._streams))
            try:
                stream.start()
            except RuntimeError:  # the box gives no more threads
                self._growth.refused_thread(len(self._streams))
                return
            self._streams.append(stream)

    @property
    def is_looking(self) -> bool:
        """Whether the right number of connections is still being looked for."""
        return self._growth.is_looking

    def surplus(self, stream: Stream) -> bool:
        """Whether this connection should end because there shall be fewer."""
        alive = [each for each in self._streams if each.is_alive()]
        return len(alive) > self._growth.target and alive.index(stream) >= self._growth.target

    def _watch(self, now: float) -> None:
        waiting = [work for work in self.works if work.sites and any(work.left)]
        if not waiting:
            self.progress_at = now
            return
        working = [stream for stream in self._streams if stream.works(now)]
        if self.received - self._progress_mark >= PROGRESS_BYTES:
            self._progress_mark, self.progress_at = self.received, now
        self._growth.observe(now, self.received, len(working))
        self._grow()
        self._replace_stalled(now)
        limit = self.patience.without_progress if self.received else self.patience.to_begin
        if now - max(self.progress_at, self.paused_until) > limit:
            self.failure = trouble.unreachable(self.trouble or "no bytes arrive", limit)

    def _replace_stalled(self, now: float) -> None:
        """A connection that gives nothing, or far less than the others, is closed; its rest goes on."""
        rates = [s.part.rate(now) for s in self._streams if s.part and now - s.part.began > 1.0]
        usual = statistics.median(rates) if len(rates) >= 3 else 0.0
        for stream in self._streams:
            part = stream.part
            if part is None:
                continue
            # A cold storage may think for a while before its first byte; later silence is a stall.
            patience = self.patience.stalled * (1 if part.pos > part.began_at else 2)
            silent = now - stream.heard_at > patience
            long_enough = now - part.began > self.patience.stalled
            if silent or (long_enough and part.rate(now) < max(usual * 0.1, SLOWEST_BYTES_PER_SECOND)):
                self.trouble = f"{stream.site_name} stalls"
                stream.abort()

    def _stop(self) -> None:
        with self.lock:
            self.stopping = True
            for stream in self._streams:
                stream.abort()
            self.lock.notify_all()
        self.hashing.stop()
        for stream in self._streams:
            stream.join(5.0)
        self.hashing.join(5.0)
        for work in self.works:
            if work.journal:
                work.journal.close()
            if work.descriptor is not None:
                os.close(work.descriptor)
                work.descriptor = None

    def note(self) -> str | None:
        """What the user should know while it runs."""
        now = time.monotonic()
        if self.paused_until > now:
            return f"{self.trouble}; going on in {self.paused_until - now:.0f} s"
        if now - self.progress_at > 3.0 and self.trouble:
            return f"{self.trouble}; trying again"
        return None

    def _warned(self, trouble: str) -> None:
        self.trouble = trouble

    def fail(self, error: BaseException) -> None:
        with self.lock:
            self.failure = self.failure or error
            self.lock.notify_all()

    # ---- what streams ask -----------------------------------------------------------------------------

    def take(self, stream: Stream) -> Part | None:
        """The next part for this connection; None when it should end. Waits while there is nothing to do."""
        with self.lock:
            while not self.stopping and self.failure is None and not self.surplus(stream):
                now = time.monotonic()
                pause = self.paused_until - now
                if pause > 0:
                    self.lock.wait(min(pause, 0.5))
                    continue
                part = self._next(stream, now) or self._steal(stream, now)
                if part is not None:
                    self.prepare(part.work)
                    return part
                self.lock.wait(0.1)
            return None

    def _next(self, stream: Stream, now: float) -> Part | None:
        open_works = [work for work in self.works if work.todo and work.sequential is None]
        active = sorted(
            open_works[: max(ACTIVE_FILES, self._growth.target // CONNECTIONS_A_FILE)],
            key=lambda w: len(w.flying),
        )
        if not active:
            return None
        # Towards the end the shares become small, so that all connections end at the same time.
        left = sum(part.end - part.pos for work in open_works for part in work.todo)
        last = max(SMALLEST_SHARE_BYTES, left // (2 * max(1, len(self._streams))))
        # Small shares keep the hash close behind; they are as large as makes the way to the server and back
        # a twentieth of their time.
        near = (
            max(SMALLEST_NEAR_BYTES, int(stream.rate * stream.answer_seconds * 20)) if stream.rate else last
        )
        return active[0].take(now, min(last, near))

    def _steal(self, thief: Stream, now: float) -> Part | None:
        """Nothing is left to hand out: share the part that would end last."""
        flying = [(each, each.part) for each in self._streams if each.part and each is not thief]
        usual = statistics.median([p.rate(now) for _, p in flying if now - p.began > 0.1] or [0.0])
        usual = max(usual, thief.rate, 1.0)
        worth = max(1.0, 8 * thief.answer_seconds)  # seconds; what is on its way already is lost
        slowest: tuple[float, Stream, Part] | None = None
        for owner, part in flying:
            if part.work.sequential is not None or part not in part.work.flying or now - part.began < worth:
                continue
            seconds = (part.end - part.pos) / max(part.rate(now), 1.0)
            if part.pos < part.end and seconds > worth and (slowest is None or seconds > slowest[0]):
                slowest = (seconds, owner, part)
        if slowest is None:
            return None
        _, owner, part = slowest
        # A connection that has just not got anything yet is no reason to ask a second time.
        if part.rate(now) == 0 and now - owner.heard_at < worth:
            return None
        taken = part.work.split(part, usual, now)
        if taken is not None and part.pos >= part.end:
            owner.abort()
        return taken

    def prepare(self, work: Work) -> None:
        """Make the part file, at its full length, when its first byte is about to come."""
        if work.descriptor is not None:
            return
        try:
            work.part.parent.mkdir(parents=True, exist_ok=True)
            work.descriptor = os.open(work.part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            store.reserve(work.descriptor, work.file.bytes)
        except OSError as error:
            raise store.cannot_write(work.final.parent, error) from error
        if work.journal:
            work.journal.begin(work.claims)
        work.state = "running"

    def arrived(self, part: Part, stream: Stream, size: int) -> bool:
        """Write and hash what a stream's block holds for a part; False when it is no longer its part."""
        work, view = part.work, stream.block[:size]
        with self.lock:
            start = part.pos
            count = work.claim(part, len(view))
            lane = work.lane_of(part.piece)
            self.received += count
            if count:
                self.sites.spoke_sense()
            inline = count > 0 and lane.hashed == start and not lane.busy
            if inline:
                lane.busy = True
            descriptor = work.descriptor
        if not count or descriptor is None:
            return False
        self.write(work, descriptor, view[:count], start)
        if inline:
            lane.digest.update(view[:count])
        with self.lock:
            if part.generation != work.generation:
                return False
            part.written = start + count
            if not inline and start >= lane.hashed:
                stream.block = self.hashing.hold(lane, start, stream.block, count)
            self._wrote(work, part.piece, count, (lane, start + count) if inline else None)
        return count == len(view)

    def write(self, work: Work, descriptor: int, view: memoryview, offset: int) -> None:
        try:
            began = time.monotonic()
            with work.writing:
                while len(view):
                    count = os.pwrite(descriptor, view, offset)
                    view, offset = view[count:], offset + count
                self.write_seconds += time.monotonic() - began
        except OSError as error:
            raise store.cannot_write(work.final.parent, error) from error

    def _wrote(self, work: Work, piece: int, count: int, hashed: tuple[Lane, int] | None) -> None:
        """Count what was written before judging it: a judgement may set the pieces out anew."""
        if work.wrote(piece, count) and work.journal:
            work.journal.written(piece)
        if hashed is not None:
            self.hashing.hashed(work, *hashed)
        self.hashing.look(work, work.lane_of(piece))

    def begin_whole(self, part: Part, stream: Stream) -> bool:
        """From now on this connection alone reads the file; False when another does already."""
        work = part.work
        with self.lock:
            if work.sequential is not None:
                return False
            work.sequential = stream
            work.read_from_front()
            return True

    def end_whole(self, work: Work, stream: Stream) -> None:
        """That connection is done or failed: what is missing may be asked for in ranges again."""
        with self.lock:
            if work.sequential is stream:
                work.sequential = None
                work.read_from_front()
                self.lock.notify_all()

    def arrived_whole(self, work: Work, view: memoryview, offset: int) -> None:
        """Write and hash what a reader of the whole file received; pieces that are there are passed over."""
        while len(view):
            piece = offset // PIECE_BYTES
            count = min(len(view), work.bounds(piece)[1] - offset)
            if work.left[piece] and work.descriptor is not None:
                self._arrived_whole(work, piece, view[:count], offset, work.descriptor)
            view, offset = view[count:], offset + count

    def _arrived_whole(self, work: Work, piece: int, view: memoryview, offset: int, descriptor: int) -> None:
        end = offset + len(view)
        with self.lock:
            self.received += len(view)
            lane = work.lane_of(piece)
            inline = offset <= lane.hashed < end and not lane.busy
            lane.busy = lane.busy or inline
        self.write(work, descriptor, view, offset)
        if inline:
            lane.digest.update(view[lane.hashed - offset :])
        with self.lock:
            self._wrote(work, piece, len(view), (lane, end) if inline else None)

    # ---- what streams report --------------------------------------------------------------------------

    def stumbled(self, stream: Stream, why: TryAgain) -> None:
        """A part failed and is back in the queue."""
        with self.lock:
            now = time.monotonic()
            self.trouble = why.why
            if why.slow_down:
                wait = why.wait_seconds or 1.0
                self._growth.slow_down(now, wait)
            if why.wait_seconds:
                self.paused_until = max(self.paused_until, now + why.wait_seconds)
            self.lock.notify_all()
