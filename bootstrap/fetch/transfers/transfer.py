"""One file on its way: which pieces are there, which connection fetches which bytes, what is hashed.

Everything here changes under the session's lock. A **range** is what one connection fetches of one piece.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

from bootstrap.choose.manifest import File
from bootstrap.fetch import store
from bootstrap.fetch.digest import PIECE_BYTES
from bootstrap.fetch.journal import Claims, Journal
from bootstrap.fetch.located import Mirror
from bootstrap.fetch.progress import State
from bootstrap.fetch.store import Basis
from bootstrap.fetch.transfers import segments
from bootstrap.fetch.transfers.segments import HashSegment

SMALLEST_SPLIT_BYTES = 256 * 1024  # sharing less costs more than it saves


@dataclass(eq=False)
class Range:
    """Bytes ``pos`` to ``end`` of a file, wanted by one connection; both change while it runs."""

    transfer: FileTransfer
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
class FileTransfer:
    """A file to fetch, or one that is there and only has to be hashed (then there are no mirrors)."""

    file: File
    final: Path
    expected: str | None  # sha256 or git oid in hex; None: not published
    by_git: bool
    basis: Basis
    mirrors: list[Mirror]
    original: Path | None = None  # a file elsewhere on this box, which is read only and linked
    states: dict[int, bytes] = field(default_factory=dict)  # known, or found: after each piece
    known: int = 0  # pieces 0 to known-1 have a state that was known beforehand

    journal: Journal | None = None
    claims: Claims = field(default_factory=Claims)  # what an earlier fetch left
    descriptor: int | None = None
    # The kernel lets one thread write to a file; the others would spin, each a core's time.
    writing: threading.Lock = field(default_factory=threading.Lock)
    todo: deque[Range] = field(default_factory=deque)
    in_flight: set[Range] = field(default_factory=set)
    left: list[int] = field(default_factory=list)  # bytes of each piece that are not written
    segments: list[HashSegment] = field(default_factory=list)
    strikes: dict[int, int] = field(default_factory=dict)
    restarts: int = 0
    reader: object | None = None  # the connection that reads the whole file where ranges are ignored
    etag: str | None = None
    generation: int = 0  # grows when the pieces are planned again; older ranges no longer count then
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

    def open(self) -> None:
        """Make the part file, at its full length, when its first byte is about to come."""
        if self.descriptor is not None:
            return
        try:
            self.part.parent.mkdir(parents=True, exist_ok=True)
            self.descriptor = os.open(self.part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            store.reserve(self.descriptor, self.file.bytes)
        except OSError as error:
            raise store.cannot_write(self.final.parent, error) from error
        if self.journal:
            self.journal.begin(self.claims)
        self.state = "running"

    def close(self) -> None:
        """End the use of the file and of its journal."""
        if self.journal:
            self.journal.close()
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None

    def plan(self, written: set[int]) -> None:
        """Plan the pieces: these are written, the others are to do."""
        self.generation += 1
        self.left = []
        self.todo.clear()
        self.in_flight.clear()
        for piece in range(self.pieces):
            start, end = self.bounds(piece)
            self.left.append(0 if piece in written else end - start)
            if piece not in written:
                self.todo.append(Range(self, piece, start, end, self.generation))

    def set_segments(self) -> None:
        """Hash from the front again, with what is known of SHA-256's states now."""
        if self.by_git:
            self.segments = segments.git_segments(self.file.bytes)
        else:
            self.segments = segments.sha256_segments(
                self.file.bytes, states=self.states, known=self.known, is_expected=self.expected is not None
            )

    def segment_of(self, piece: int) -> HashSegment:
        return self.segments[min(piece, len(self.segments) - 1)]

    def take(self, now: float, share: int) -> Range | None:
        """The next bytes that no connection fetches, at most ``share``."""
        if not self.todo or self.reader is not None:
            return None
        wanted = self.todo.popleft()
        if wanted.end - wanted.pos > share + SMALLEST_SPLIT_BYTES:
            self.todo.appendleft(Range(self, wanted.piece, wanted.pos + share, wanted.end, self.generation))
            wanted.end = wanted.pos + share
        wanted.began, wanted.began_at = now, wanted.pos
        self.in_flight.add(wanted)
        return wanted

    def give_back(self, wanted: Range) -> None:
        """What is left of a range that failed is the next to be fetched."""
        if wanted in self.in_flight:
            self.in_flight.discard(wanted)
            if wanted.pos < wanted.end and wanted.generation == self.generation:
                self._queue(Range(self, wanted.piece, wanted.pos, wanted.end, self.generation))

    def split(self, wanted: Range, rate: float, now: float) -> Range | None:
        """Take as much of a slow range as makes both halves end together; all of it when it stands still."""
        left = wanted.end - wanted.pos
        mine = int(left * rate / max(wanted.rate(now) + rate, 1.0))
        if left - mine < SMALLEST_SPLIT_BYTES:
            mine = left
        if mine < SMALLEST_SPLIT_BYTES and mine < left:
            return None
        middle = wanted.end - mine
        new = Range(self, wanted.piece, middle, wanted.end, self.generation, now, middle)
        wanted.end = middle
        self.in_flight.add(new)
        return new

    def claim(self, wanted: Range, count: int) -> int:
        """How many of ``count`` bytes just received are still this range's; they are counted as received."""
        if wanted not in self.in_flight:
            return 0
        count = min(count, wanted.end - wanted.pos)
        wanted.pos += count
        self.fetched_bytes += count
        return count

    def wrote(self, piece: int, count: int) -> bool:
        """Count written bytes; whether the piece is now whole."""
        self.left[piece] -= count
        return self.left[piece] == 0

    def ready(self, segment: HashSegment) -> int | None:
        """Up to where a segment could be hashed from the disk now; None when it cannot go on."""
        if segment.busy or segment.done:
            return None
        piece = segment.hashed // PIECE_BYTES
        end = min(self.bounds(piece)[1], segment.end)
        if self.left[piece]:
            if self.reader is not None:
                return None
            end = min(end, self._written_from(piece, end))
        return end if end > segment.hashed else None

    def _written_from(self, piece: int, end: int) -> int:
        """Up to where this piece is written without a gap."""
        for wanted in self.todo:
            if wanted.piece > piece:  # they are in order
                break
            if wanted.piece == piece:
                end = min(end, wanted.pos)
        for wanted in self.in_flight:
            if wanted.piece == piece:
                end = min(end, max(wanted.written, wanted.began_at))
        return end

    def refetch(self, piece: int) -> None:
        """Fetch a piece that is there once more."""
        start, end = self.bounds(piece)
        self.left[piece] = end - start
        self._queue(Range(self, piece, start, end, self.generation))

    def _queue(self, wanted: Range) -> None:
        """In its place: ``_written_from`` goes by the order, and what is furthest in front comes first."""
        place = next((n for n, each in enumerate(self.todo) if each.pos > wanted.pos), len(self.todo))
        self.todo.insert(place, wanted)

    def read_from_front(self) -> None:
        """Plan the missing pieces for one reader of the whole file: no ranges are handed out."""
        self.plan({piece for piece, left in enumerate(self.left) if not left})

    @property
    def verified(self) -> bool:
        return not any(self.left) and all(segment.done for segment in self.segments)
