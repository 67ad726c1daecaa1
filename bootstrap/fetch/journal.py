"""Which pieces of a ``*.part`` are there, in a file beside it, so that a killed fetch can be resumed.

One line per event, appended in one write: ``w 7`` piece 7 is written, ``v 7`` it is also verified,
``s 7 <state>`` SHA-256's state after piece 7. A line that was cut off is ignored. After ``kill -9`` the
page cache still holds what was written, so nothing is synced; after a power loss the boot id differs and
everything claimed is hashed again.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from bootstrap import files
from bootstrap.fetch.digest import PIECE_BYTES
from bootstrap.fetch.store import boot_id, cannot_write


@dataclass
class Claims:
    """What a journal claims about its part file."""

    written: set[int] = field(default_factory=set)
    verified: set[int] = field(default_factory=set)
    states: dict[int, bytes] = field(default_factory=dict)
    same_boot: bool = False


class Journal:
    """The journal of one file. ``expected`` is its digest, so that another revision's is not used."""

    def __init__(self, part: Path, *, size: int, expected: str) -> None:
        self.path = part.with_name(part.name + ".journal")
        self._header = {"version": 1, "bytes": size, "content": expected, "piece_bytes": PIECE_BYTES}
        self._part = part
        self._descriptor: int | None = None

    def read(self) -> Claims:
        """What can be used again; nothing when the part or the journal belongs to something else."""
        claims = Claims()
        try:
            lines = self.path.read_text().split("\n")
            if self._part.stat().st_size != self._header["bytes"]:
                return claims
            header = json.loads(lines[0])
        except (OSError, ValueError):
            return claims
        boot = header.pop("boot_id", None)
        if header != self._header:
            return claims
        claims.same_boot = boot == boot_id() != "unknown"
        for line in lines[1:-1]:  # the last one has no newline: it is empty or cut off
            with suppress(ValueError, IndexError):
                _take(claims, line.split(" "))
        return claims

    def begin(self, claims: Claims) -> None:
        """Start a journal for this boot that holds these claims."""
        lines = [json.dumps({**self._header, "boot_id": boot_id()})]
        lines += [f"w {piece}" for piece in sorted(claims.written)]
        lines += [f"v {piece}" for piece in sorted(claims.verified)]
        lines += [f"s {piece} {state.hex()}" for piece, state in sorted(claims.states.items())]
        try:
            files.replace_text(self.path, "\n".join(lines) + "\n")
            self.close()
            self._descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        except OSError as error:
            raise cannot_write(self.path.parent, error) from error

    def written(self, piece: int) -> None:
        self._append(f"w {piece}\n")

    def verified(self, piece: int) -> None:
        self._append(f"v {piece}\n")

    def state(self, piece: int, state: bytes) -> None:
        self._append(f"s {piece} {state.hex()}\n")

    def _append(self, line: str) -> None:
        if self._descriptor is None:
            return
        try:
            os.write(self._descriptor, line.encode())
        except OSError as error:
            raise cannot_write(self.path.parent, error) from error

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def remove(self) -> None:
        self.close()
        self.path.unlink(missing_ok=True)


def _take(claims: Claims, words: list[str]) -> None:
    piece = int(words[1])
    if words[0] == "w":
        claims.written.add(piece)
    elif words[0] == "v":
        claims.verified.add(piece)
    elif words[0] == "s" and len(words[2]) == 64:
        claims.states[piece] = bytes.fromhex(words[2])
