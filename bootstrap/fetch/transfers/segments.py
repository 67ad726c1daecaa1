"""Stretches of a file that are hashed from front to back, each with the digest that proves it.

A whole file is one segment at its first download. Where SHA-256's states are known, each piece is one, and
pieces can be checked in any order.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from bootstrap.fetch import digest
from bootstrap.fetch.digest import PIECE_BYTES, Digest


@dataclass(eq=False)
class HashSegment:
    """Bytes ``start`` to ``end``; right when the digest after them is ``target`` (a state or the file's)."""

    start: int
    end: int
    digest: Digest
    before: bytes | None  # the state at ``start``
    target: bytes | None  # the state at ``end``; None: the segment ends the file, whose digest decides
    hashed: int = 0
    busy: bool = False
    held: dict[int, memoryview] = field(default_factory=dict)  # by offset: written, and still in memory

    @property
    def done(self) -> bool:
        return self.hashed == self.end


def git_segments(size: int) -> list[HashSegment]:
    """Git's digest has no states to continue from: the whole file is one segment."""
    return [HashSegment(0, size, digest.git_oid(size), None, None)]


def sha256_segments(
    size: int, *, states: dict[int, bytes], known: int, is_expected: bool
) -> list[HashSegment]:
    """One segment for each of the first ``known`` pieces, whose state is in ``states``, and one for the rest.

    ``is_expected``: the file's own digest is known, so the last segment is judged by it.
    """
    known = known if digest.library() else 0
    segments: list[HashSegment] = []
    before: bytes | None = None
    for piece in range(known):
        start, end = piece * PIECE_BYTES, min((piece + 1) * PIECE_BYTES, size)
        if end == size and end % PIECE_BYTES:
            break
        hasher = digest.sha256(before, start)
        segments.append(HashSegment(start, end, hasher, before, states[piece], hashed=start))
        before = states[piece]
    start = len(segments) * PIECE_BYTES
    if start < size or not segments:
        segments.append(HashSegment(start, size, digest.sha256(before, start), before, None, hashed=start))
    elif is_expected:
        segments[-1].target = None  # the file ends at a border: its last segment gives the digest itself
    return segments
