"""Files that are on this box already: in their place, in a local folder, or in the hub's cache."""

from __future__ import annotations

import os
from pathlib import Path

from bootstrap.choose.manifest import File
from bootstrap.errors import KitError
from bootstrap.fetch import hub, publish, resume, store, twins
from bootstrap.fetch.journal import Claims
from bootstrap.fetch.reporter import Reporter
from bootstrap.fetch.request import Request
from bootstrap.fetch.store import Entry, Lock, Stamp
from bootstrap.fetch.transfers.session import Session
from bootstrap.fetch.transfers.transfer import FileTransfer


def verify(request: Request, files: list[File], lock: Lock, reporter: Reporter) -> list[File]:
    """Hash which of these files are here and link those that lie elsewhere; returns what is missing."""
    found = [transfer for file in files if (transfer := _find(request, file, lock)) is not None]
    if found:
        session = Session(found, finish=lambda transfer: _keep(request, transfer))
        session.run(lambda: _report(request, reporter, found))
        reporter.update(found, now=True)
    good = {transfer.file.path for transfer in found if not transfer.bad}
    return [file for file in files if file.path not in good]


def _report(request: Request, reporter: Reporter, transfers: list[FileTransfer]) -> None:
    request.still_ours()
    reporter.update(transfers)


def _find(request: Request, file: File, lock: Lock) -> FileTransfer | None:
    final = request.home / file.kept_at
    original, entry = _original(request, file, lock.get(file.kept_at))
    path = original or final
    if not path.is_file() or path.stat().st_size != file.bytes:
        return None
    transfer = resume.of_local(file, final, original, entry)
    transfer.plan(set(range(transfer.pieces)))
    transfer.set_segments()
    transfer.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    transfer.state = "verifying"
    return transfer


def _original(request: Request, file: File, entry: Entry | None) -> tuple[Path | None, Entry | None]:
    """Where else on this box the file lies, and what is known of it; None where it is in its own place."""
    source = file.source or request.manifest.source
    final = request.home / file.kept_at
    if source.folder is not None:
        original = store.local_folder(source) / file.path
        _check_size(file, original)
        return original, entry
    if final.is_file():
        return None, entry
    return request.twins.find(file, but=final) or (hub.in_cache(source, file), entry)


def _check_size(file: File, original: Path) -> None:
    seen = Stamp.of(original)
    if seen is None or seen.size != file.bytes:
        state = "is not there" if seen is None else f"has {seen.size} bytes"
        raise KitError(
            f"{original} {state}; {file.bytes} bytes are expected",
            fix="make the file again, or correct the manifest",
        )


def _keep(request: Request, transfer: FileTransfer) -> None:
    """The file is hashed: record it when it is right, keep the right pieces of it when it is not."""
    request.still_ours()
    if not transfer.bad:
        if transfer.original is not None and not _placed(request, transfer, transfer.original):
            transfer.bad.add(0)
            return
        publish.record(request.home, transfer)
        request.arrived(transfer.final)
        return
    if transfer.original is None:
        _demote(transfer)
    elif request.manifest.source.folder is not None and transfer.file.source is None:
        found = transfer.segments[-1].digest.hexdigest()
        raise KitError(
            f"{transfer.original} is damaged: its digest is {found}, expected {transfer.expected}",
            fix="make or copy the file again",
        )


def _placed(request: Request, transfer: FileTransfer, original: Path) -> bool:
    """Whether the file has its own name now; not when it was deleted elsewhere while it was hashed."""
    if not request.twins.holds(original):
        _link(original, transfer.final)
        return True
    try:
        twins.share(original, transfer.final)
    except OSError as error:
        if original.exists():
            raise store.cannot_write(transfer.final.parent, error) from error
        return False
    return True


def _demote(transfer: FileTransfer) -> None:
    """A damaged file loses its final name at once; its right pieces are kept.

    Where others use the same bytes a copy is mended: they may want another content by now.
    """
    try:
        if twins.is_shared(transfer.final):
            twins.separate(transfer.final, transfer.part)
        else:
            transfer.final.replace(transfer.part)
    except OSError as error:
        raise store.cannot_write(transfer.final.parent, error) from error
    if not transfer.part.exists():
        return
    journal = resume.journal_of(transfer)
    good = set(range(transfer.pieces)) - transfer.bad
    states = transfer.states if transfer.known else {}
    journal.begin(Claims(written=good, verified=good, states=states))
    journal.close()


def _link(original: Path, final: Path) -> None:
    link = final.with_name(final.name + ".link")
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(original)
        link.replace(final)
    except OSError as error:
        raise store.cannot_write(final.parent, error) from error
