"""The other downloaders: one file after the other, each verified while the page cache still has it."""

from __future__ import annotations

import os
from dataclasses import replace

from bootstrap.errors import KitError
from bootstrap.fetch import external_process, publish
from bootstrap.fetch.located import Located
from bootstrap.fetch.reporter import Reporter
from bootstrap.fetch.request import Request
from bootstrap.fetch.transfers import hashing
from bootstrap.fetch.transfers.session import Session
from bootstrap.fetch.transfers.transfer import FileTransfer

NAMES = ("hf-transfer", "hf-hub")
ATTEMPTS = 2  # as with our own: what is damaged twice is not tried again


def fetch(
    request: Request, transfers: list[FileTransfer], addresses: dict[str, Located], reporter: Reporter
) -> None:
    """Fetch and publish all of these; KitError when one fails or is damaged twice."""
    for transfer in transfers:
        source = transfer.file.source or request.manifest.source
        if request.downloader == "hf-hub" and not source.repo:
            raise KitError(
                f"hf-hub cannot fetch {transfer.file.path}, which is not on the hub",
                fix="leave --downloader out",
            )
        _fetch(request, transfer, addresses[transfer.file.path], reporter)


def _fetch(request: Request, transfer: FileTransfer, located: Located, reporter: Reporter) -> None:
    mirrors, transfer.mirrors = transfer.mirrors, []  # our own connections fetch nothing of it
    for _ in range(ATTEMPTS):
        if transfer.file.bytes:
            _download(request, transfer, located, reporter)
        if _verify(request, transfer, reporter):
            return
    found = transfer.segments[-1].digest.hexdigest()
    raise hashing.Damaged(replace(transfer, mirrors=mirrors), found)


def _download(request: Request, transfer: FileTransfer, located: Located, reporter: Reporter) -> None:
    """Let the other downloader make the part file, and open it."""

    def advanced(count: int) -> None:
        transfer.fetched_bytes, transfer.state = count, "running"
        reporter.update([transfer])

    external_process.download(
        request.downloader,
        transfer,
        located,
        transfer.file.source or request.manifest.source,
        endpoint=request.endpoint,
        token=request.token,
        stalled_seconds=request.patience.stalled * 3,
        advanced=advanced,
    )
    transfer.descriptor = os.open(transfer.part, os.O_RDWR | os.O_CLOEXEC)


def _verify(request: Request, transfer: FileTransfer, reporter: Reporter) -> bool:
    """Whether the part file holds the right bytes; it then has its final name."""
    transfer.fetched_bytes, transfer.state = 0, "verifying"
    transfer.finished = transfer.closing = False
    transfer.bad.clear()
    transfer.plan(set(range(transfer.pieces)))
    transfer.set_segments()

    def finish(transfer: FileTransfer) -> None:
        if not transfer.bad:
            publish.publish(request, transfer)

    Session([transfer], finish=finish).run(lambda: reporter.update([transfer]))
    return not transfer.bad
