"""Files that are on this box already: in their place, in a local folder, or in the hub's cache."""

from __future__ import annotations

import os
from pathlib import Path

from bootstrap.choose.manifest import File
from bootstrap.errors import KitError
from bootstrap.fetch import hub, publish, resume, store
from bootstrap.fetch.journal import Claims
from bootstrap.fetch.reporter import Reporter
from bootstrap.fetch.request import Request
from bootstrap.fetch.store import Lock, Stamp
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
    source = file.source or request.manifest.source
    final = request.home / file.kept_at
    original: Path | None = None
    if source.folder is not None:
        original = store.local_folder(source) / file.path
        _check_size(file, original)
    elif not final.is_file():
        original = hub.in_cache(source, file)
        if original is None:
            return None
    path = original or final
    if path.stat().st_size != file.bytes:
        return None
    transfer = resume.of_local(file, final, original, lock.get(file.kept_at))
    transfer.plan(set(range(transfer.pieces)))
    transfer.set_segments()
    transfer.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    transfer.state = "verifying"
    return transfer


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
        if transfer.original is not None:
            _link(transfer.original, transfer.final)
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


def _demote(transfer: FileTransfer) -> None:
    """A damaged file loses its final name at once; its right pieces are kept."""
    try:
        transfer.final.replace(transfer.part)
    except OSError as error:
        raise store.cannot_write(transfer.final.parent, error) from error
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
