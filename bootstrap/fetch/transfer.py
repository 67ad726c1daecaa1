"""One file on its way: which pieces are there, who fetches which bytes, how far it is hashed.

Everything here changes under the engine's lock, except the hashing itself. A **part** is a stretch of one
piece that one connection fetches. A **lane** is a stretch that is hashed from front to back: a whole file
at its first download, a single piece where SHA-256's states are known.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

from bootstrap.choose.manifest import File
from bootstrap.fetch import digest
from bootstrap.fetch.digest import PIECE_BYTES, Digest
from bootstrap.fetch.hub import Site
from bootstrap.fetch.journal import Claims, Journal
from bootstrap.fetch.progress import State
from bootstrap.fetch.store import Basis

SMALLEST_SPLIT_BYTES = 256 * 1024  # sharing less costs more than it saves


@dataclass(eq=False)
class Part:
    """Bytes ``pos`` to ``end`` of a file, wanted by one connection; both change while it runs."""

    work: Work
    piece: int
    pos: int
    end: int
    generation: int
    began: float = 0.0
    began_at: int = 0  # the position then
    written: int = -1  # up to here it is on the disk; -1: nothing of it

    def rate(self, now: float) -> float:
        """Bytes a second since it began; 0 for one that has not got any."""
        return (self.pos - self.began_at) / max(now - self.began, 1e-3)


@dataclass(eq=False)
class Lane:
    """Bytes ``start`` to ``end``; right when the digest after them is ``target`` (a state or the file's)."""

    start: int
    end: int
    digest: Digest
    before: bytes | None  # the state at ``start``
    target: bytes | None  # the state at ``end``; None: this lane ends the file, whose digest decides
    hashed: int = 0
    busy: bool = False
    held: dict[int, memoryview] = field(default_factory=dict)  # by offset: written, and still in memory

    @property
    def done(self) -> bool:
        return self.hashed == self.end


@dataclass(eq=False)
class Work:
    """A file to fetch, or one that is there and only has to be hashed (then there are no sites)."""

    file: File
    final: Path
    expected: str | None  # sha256 or git oid in hex; None: nobody knows
    by_git: bool
    basis: Basis
    sites: list[Site]
    original: Path | None = None  # a file elsewhere on this box, which is read only and linked
    states: dict[int, bytes] = field(default_factory=dict)  # known, or found: after each piece
    known: int = 0  # pieces 0 to known-1 have a state that was known beforehand

    journal: Journal | None = None
    claims: Claims = field(default_factory=Claims)  # what an earlier run left
    descriptor: int | None = None
    # The kernel lets one thread write to a file; the others would spin, each a core's time.
    writing: threading.Lock = field(default_factory=threading.Lock)
    todo: deque[Part] = field(default_factory=deque)
    flying: set[Part] = field(default_factory=set)
    left: list[int] = field(default_factory=list)  # bytes of each piece that are not written
    lanes: list[Lane] = field(default_factory=list)
    strikes: dict[int, int] = field(default_factory=dict)
    restarts: int = 0
    sequential: object | None = None  # the stream that reads the whole file where ranges are ignored
    etag: str | None = None
    generation: int = 0  # grows when the pieces are set out anew; older parts then count no more
    bad: set[int] = field(default_factory=set)  # damaged pieces of a file that is only hashed
    closing: bool = False
    finished: bool = False
    state: State = "waiting"
    fetched_bytes: int = 0

    @property
    def part(self) -> Path:
        return self.final.with_name(self.final.name + ".part")

    @property
    def pieces(self) -> int:
        return -(-self.file.bytes // PIECE_BYTES)

    def bounds(self, piece: int) -> tuple[int, int]:
        return piece * PIECE_BYTES, min((piece + 1) * PIECE_BYTES, self.file.bytes)

    @property
    def bytes_done(self) -> int:
        """Bytes that lie on the disk."""
        return self.file.bytes - sum(self.left)

    def plan(self, written: set[int]) -> None:
        """Set out the pieces: these are written, the others are to do."""
        self.generation += 1
        self.left = []
        self.todo.clear()
        self.flying.clear()
        for piece in range(self.pieces):
            start, end = self.bounds(piece)
            self.left.append(0 if piece in written else end - start)
            if piece not in written:
                self.todo.append(Part(self, piece, start, end, self.generation))

    def set_lanes(self) -> None:
        """Hash from the front again, with what is known of SHA-256's states now."""
        self.lanes = lanes_of(self)

    def lane_of(self, piece: int) -> Lane:
        return self.lanes[min(piece, len(self.lanes) - 1)]

    def take(self, now: float, share: int) -> Part | None:
        """The next stretch that nobody fetches, at most ``share`` bytes of it."""
        if not self.todo or self.sequential is not None:
            return None
        part = self.todo.popleft()
        if part.end - part.pos > share + SMALLEST_SPLIT_BYTES:
            self.todo.appendleft(Part(self, part.piece, part.pos + share, part.end, self.generation))
            part.end = part.pos + share
        part.began, part.began_at = now, part.pos
        self.flying.add(part)
        return part

    def give_back(self, part: Part) -> None:
        """What is left of a part that failed is the next to be fetched."""
        if part in self.flying:
            self.flying.discard(part)
            if part.pos < part.end and part.generation == self.generation:
                self._queue(Part(self, part.piece, part.pos, part.end, self.generation))

    def split(self, part: Part, rate: float, now: float) -> Part | None:
        """Take as much of a slow part as makes both halves end together; all of it when it stands still."""
        left = part.end - part.pos
        mine = int(left * rate / max(part.rate(now) + rate, 1.0))
        if left - mine < SMALLEST_SPLIT_BYTES:
            mine = left
        if mine < SMALLEST_SPLIT_BYTES and mine < left:
            return None
        middle = part.end - mine
        new = Part(self, part.piece, middle, part.end, self.generation, now, middle)
        part.end = middle
        self.flying.add(new)
        return new

    def claim(self, part: Part, count: int) -> int:
        """How many of ``count`` bytes just received are still this part's; they are then its alone."""
        if part not in self.flying:
            return 0
        count = min(count, part.end - part.pos)
        part.pos += count
        self.fetched_bytes += count
        return count

    def wrote(self, piece: int, count: int) -> bool:
        """Count written bytes; whether the piece is now whole."""
        self.left[piece] -= count
        return self.left[piece] == 0

    def ready(self, lane: Lane) -> int | None:
        """Up to where a lane could be hashed from the disk now; None when it cannot go on."""
        if lane.busy or lane.done:
            return None
        piece = lane.hashed // PIECE_BYTES
        end = min(self.bounds(piece)[1], lane.end)
        if self.left[piece]:
            if self.sequential is not None:
                return None
            end = min(end, self._written_from(piece, end))
        return end if end > lane.hashed else None

    def _written_from(self, piece: int, end: int) -> int:
        """Up to where this piece is written without a gap."""
        for part in self.todo:
            if part.piece > piece:  # they stand in order
                break
            if part.piece == piece:
                end = min(end, part.pos)
        for part in self.flying:
            if part.piece == piece:
                end = min(end, max(part.written, part.began_at))
        return end

    def refetch(self, piece: int) -> None:
        """Fetch a piece that is there once more."""
        start, end = self.bounds(piece)
        self.left[piece] = end - start
        self._queue(Part(self, piece, start, end, self.generation))

    def _queue(self, part: Part) -> None:
        """In its place: ``_written_from`` goes by the order, and what is furthest in front comes first."""
        place = next((n for n, each in enumerate(self.todo) if each.pos > part.pos), len(self.todo))
        self.todo.insert(place, part)

    def read_from_front(self) -> None:
        """Set out the missing pieces for one reader of the whole file: no ranges are handed out."""
        self.plan({piece for piece, left in enumerate(self.left) if not left})

    @property
    def verified(self) -> bool:
        return not any(self.left) and all(lane.done for lane in self.lanes)


def lanes_of(work: Work) -> list[Lane]:
    """One lane for each piece whose state is known, and one for the rest."""
    size = work.file.bytes
    if work.by_git:
        return [Lane(0, size, digest.git_oid(size), None, None)]
    known = work.known if digest.library() else 0
    lanes: list[Lane] = []
    before: bytes | None = None
    for piece in range(known):
        start, end = work.bounds(piece)
        if end == size and end % PIECE_BYTES:
            break
        lanes.append(Lane(start, end, digest.sha256(before, start), before, work.states[piece], hashed=start))
        before = work.states[piece]
    start = len(lanes) * PIECE_BYTES
    if start < size or not lanes:
        lanes.append(Lane(start, size, digest.sha256(before, start), before, None, hashed=start))
    elif work.expected is not None:
        lanes[-1].target = None  # the file ends at a border: its last lane gives the digest itself
    return lanes
