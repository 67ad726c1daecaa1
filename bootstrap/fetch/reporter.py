"""Where all files stand, gathered from their transfers for the meter."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from bootstrap.choose.manifest import File, Manifest
from bootstrap.fetch.progress import FileProgress, Meter
from bootstrap.fetch.transfers.transfer import FileTransfer


class Reporter:
    """Keeps the progress of every file of the manifest; reports from any thread."""

    def __init__(self, manifest: Manifest, meter: Meter) -> None:
        self._files = {f.path: FileProgress(f.path, 0, f.bytes, "waiting") for f in manifest.files}
        self.meter = meter
        self._lock = threading.Lock()

    def done(self, files: Sequence[File]) -> None:
        """These files are verified already."""
        for file in files:
            self._files[file.path] = FileProgress(file.path, file.bytes, file.bytes, "done")

    def update(self, transfers: Sequence[FileTransfer], *, now: bool = False) -> None:
        """Take over how far these are, and report; ``now`` also when the last report was a moment ago."""
        for transfer in transfers:
            total = transfer.file.bytes
            count = transfer.bytes_done if transfer.mirrors else min(transfer.fetched_bytes, total)
            if transfer.finished:
                count = total
            self._files[transfer.file.path] = FileProgress(transfer.file.path, count, total, transfer.state)
        self.report(now=now)

    def report(self, *, now: bool = False) -> None:
        with self._lock:
            self.meter.report(tuple(self._files.values()), now=now)

    def waits_for(self, who: str) -> None:
        """Another process holds the folder."""
        self.meter.note = f"another kinokit ({who}) is fetching into this folder; waiting for it"
        self.report()
