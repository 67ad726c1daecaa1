"""From a file of the manifest to its transfer: what earlier fetches know and left of it."""

from __future__ import annotations

from pathlib import Path

from bootstrap.choose.manifest import File
from bootstrap.fetch import digest
from bootstrap.fetch.journal import Claims, Journal
from bootstrap.fetch.located import Located, Mirror
from bootstrap.fetch.store import Basis, Entry
from bootstrap.fetch.transfers.transfer import FileTransfer


def of_local(file: File, final: Path, original: Path | None, entry: Entry | None) -> FileTransfer:
    """A file that is here and has to be hashed. ``entry`` is what the lock knows about it."""
    expected, by_git = _expected(file)
    basis: Basis = "manifest" if expected else "size"
    transfer = FileTransfer(file, final, expected, by_git, basis, [], original)
    _use_states(transfer, entry)
    return transfer


def of_download(
    file: File, final: Path, mirrors: list[Mirror], located: Located, entry: Entry | None
) -> FileTransfer:
    """A file that has to be fetched, with what is left of an earlier fetch."""
    expected, by_git = _expected(file)
    basis: Basis = "manifest"
    if expected is None:
        expected, by_git = located.sha256 or located.git_oid, not located.sha256 and bool(located.git_oid)
        basis = "hub" if expected else "size"
    transfer = FileTransfer(file, final, expected, by_git, basis, mirrors)
    _use_states(transfer, entry)
    transfer.journal = journal_of(transfer)
    _use_claims(transfer, transfer.journal.read())
    return transfer


def journal_of(transfer: FileTransfer) -> Journal:
    """The journal beside its part file."""
    return Journal(transfer.part, size=transfer.file.bytes, expected=transfer.expected or "unknown")


def _expected(file: File) -> tuple[str | None, bool]:
    """The digest that the manifest gives, and whether it is git's."""
    return file.sha256 or file.git_oid, file.sha256 is None and file.git_oid is not None


def _use_states(transfer: FileTransfer, entry: Entry | None) -> None:
    """Take SHA-256's states from the lock; they need no trust, the file's digest still decides."""
    if entry is None or transfer.by_git or transfer.expected is None or entry.sha256 != transfer.expected:
        return
    pieces = transfer.file.bytes // digest.PIECE_BYTES
    if entry.piece_bytes == digest.PIECE_BYTES and len(entry.pieces) == pieces:
        transfer.states = {piece: bytes.fromhex(state) for piece, state in enumerate(entry.pieces)}
        transfer.known = len(entry.pieces)


def _use_claims(transfer: FileTransfer, claims: Claims) -> None:
    """Plan the pieces as the journal allows; ``journal`` describes what is trusted when."""
    hashed = 0
    while hashed in claims.states and hashed in claims.written:
        hashed += 1
    if not transfer.known and claims.states:
        transfer.states = {piece: claims.states[piece] for piece in range(hashed)}
        if not claims.same_boot:  # each piece is checked against the state that was found before
            transfer.known = hashed
    believed = transfer.pieces if claims.same_boot else transfer.known
    written = {piece for piece in claims.written if piece < believed}
    verified = claims.verified & written if claims.same_boot and transfer.known else set()
    transfer.claims = Claims(written, verified, dict(transfer.states))
    transfer.plan(written)
    transfer.set_segments()
    for piece in verified:
        if piece < len(transfer.segments) and transfer.segments[piece].end == transfer.bounds(piece)[1]:
            transfer.segments[piece].hashed = transfer.segments[piece].end
    if claims.same_boot and not transfer.known and digest.library() and not transfer.by_git:
        segment, offset = transfer.segments[0], hashed * digest.PIECE_BYTES
        if 0 < offset < segment.end:
            segment.hashed, segment.digest = offset, digest.sha256(claims.states[hashed - 1], offset)
