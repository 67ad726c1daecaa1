"""Downloads files: locates all, checks the disk, fetches."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from bootstrap.choose.manifest import File
from bootstrap.errors import KitError
from bootstrap.fetch import errors, external, hub, publish, resume, store
from bootstrap.fetch.errors import TryAgain
from bootstrap.fetch.located import Located, Mirror
from bootstrap.fetch.reporter import Reporter
from bootstrap.fetch.request import Request
from bootstrap.fetch.store import Lock
from bootstrap.fetch.transfers.bottleneck import Bottleneck
from bootstrap.fetch.transfers.session import Session
from bootstrap.fetch.transfers.transfer import FileTransfer

LONGEST_PAUSE_SECONDS = 5.0


def download(request: Request, files: list[File], lock: Lock, reporter: Reporter) -> None:
    """Fetch and publish these files, all of them verified."""
    places = _locate_all(request, files, reporter)
    transfers = [
        resume.of_download(file, request.home / file.kept_at, *places[file.path], lock.get(file.kept_at))
        for file in files
    ]
    _check_disk(request, transfers)
    addresses = {path: located for path, (_, located) in places.items()}
    if request.downloader == "kinokit":
        last_note = _fetch(request, transfers, addresses, reporter)
    else:
        external.fetch(request, transfers, addresses, reporter)
        last_note = None
    reporter.meter.note = _unchecked(transfers) or last_note
    reporter.update(transfers, now=True)


def _fetch(
    request: Request, transfers: list[FileTransfer], addresses: dict[str, Located], reporter: Reporter
) -> str | None:
    """With our own downloader; returns what the user should know at the end."""
    bottleneck = Bottleneck()
    session = Session(
        transfers,
        finish=lambda transfer: publish.publish(request, transfer, bottleneck.flushing()),
        connections=request.connections,
        patience=request.patience,
    )
    for transfer in transfers:
        session.mirrors.remember(transfer, transfer.mirrors[0], addresses[transfer.file.path])

    def report() -> None:
        request.still_ours()
        bottleneck.see(
            time.monotonic(),
            received=session.control.received,
            write_seconds=session.control.write_seconds,
            connections=sum(len(transfer.in_flight) for transfer in transfers),
        )
        reporter.meter.note = session.note() or bottleneck.note()
        reporter.update(transfers)

    try:
        session.run(report)
    except BaseException:
        for transfer in transfers:
            transfer.state = "done" if transfer.finished else "failed"
        reporter.update(transfers, now=True)
        raise
    return bottleneck.note()


def _locate_all(
    request: Request, files: list[File], reporter: Reporter
) -> dict[str, tuple[list[Mirror], Located]]:
    """Ask for every file before a byte of any is fetched: a closed gate or a wrong name is found here."""
    with ThreadPoolExecutor(8, thread_name_prefix="locate") as pool:
        asked = {file.path: pool.submit(_locate, request, file, reporter) for file in files}
        try:
            return {path: each.result() for path, each in asked.items()}
        finally:
            pool.shutdown(cancel_futures=True)


def _locate(request: Request, file: File, reporter: Reporter) -> tuple[list[Mirror], Located]:
    """All mirrors, the one that answered first in front, and the file's address there."""
    source, licence = file.source or request.manifest.source, request.manifest.licence
    mirrors = hub.mirrors_of(
        source, licence, request.token, request.endpoint, request.mirrors, request.host_tokens
    )
    began, pause = time.monotonic(), 0.25
    while True:
        reasons, refusals = [], []
        for index, mirror in enumerate(mirrors):
            try:
                found = mirror.locate(file)
            except TryAgain as why:
                reasons.append(why)
                continue
            except errors.MirrorError as refusal:
                refusals.append(refusal)
                continue
            _check_content(file, source.repo, mirror, found)
            return mirrors[index:] + mirrors[:index], found
        if not reasons:
            raise refusals[0]
        wait = max([pause, *(why.wait_seconds or 0.0 for why in reasons)])
        patience = max(request.patience.to_begin, reasons[0].wait_seconds or 0.0)
        if time.monotonic() + wait - began > patience:
            raise errors.unreachable(reasons[0].why, time.monotonic() - began)
        reporter.meter.note = f"{reasons[0].why}; trying again"
        reporter.report()
        time.sleep(wait)
        pause = min(pause * 2, LONGEST_PAUSE_SECONDS)


def _check_content(file: File, repo: str | None, mirror: Mirror, found: Located) -> None:
    what = f"{repo}/{file.path}" if repo else file.path
    if found.bytes not in (None, file.bytes):
        raise KitError(
            f"{what} has {found.bytes} bytes on {mirror.name}, the manifest says {file.bytes}",
            fix="correct the manifest, or pin the revision it was made for",
        )
    for asked, there in ((file.sha256, found.sha256), (file.git_oid, found.git_oid)):
        if asked and there and asked != there:
            raise KitError(
                f"{what} on {mirror.name} is another file: its digest is {there}, the manifest says {asked}",
                fix="correct the manifest, or pin the revision it was made for",
            )


def _check_disk(request: Request, transfers: list[FileTransfer]) -> None:
    needed = sum(transfer.file.bytes - _allocated(transfer.part) for transfer in transfers)
    free = store.free_bytes(request.home)
    if needed > free:
        raise KitError(
            f"{request.manifest.name} needs {needed / 1e9:.2f} GB more on the disk of {request.home};"
            f" {free / 1e9:.2f} GB are free",
            fix="free some space, rent a larger disk, or choose another place with --data-dir",
        )


def _allocated(part: Path) -> int:
    """Bytes that an earlier fetch has on the disk already."""
    with suppress(OSError):
        return part.stat().st_blocks * 512
    return 0


def _unchecked(transfers: list[FileTransfer]) -> str | None:
    blind = [transfer.file.path for transfer in transfers if transfer.basis == "size"]
    if not blind:
        return None
    return f"no digest is published for {', '.join(blind)}: only the size was checked"
