"""One fetch from beginning to end: what is verified, what is here to be hashed, what is downloaded."""

from __future__ import annotations

from pathlib import Path

from bootstrap.errors import KitError
from bootstrap.fetch import download, external, local, store
from bootstrap.fetch.progress import Meter, Report
from bootstrap.fetch.reporter import Reporter
from bootstrap.fetch.request import Request


def run(request: Request, report: Report) -> dict[str, Path]:
    """See ``bootstrap.fetch.fetch``."""
    if request.downloader not in ("kinokit", *external.NAMES):
        raise KitError(
            f"no downloader is called {request.downloader!r}",
            fix=f"use one of kinokit, {', '.join(external.NAMES)}",
        )
    files, home = request.manifest.files, request.home
    reporter = Reporter(request.manifest, Meter(report))
    with store.only_fetcher(home, reporter.waits_for):
        reporter.meter.note = None
        lock = store.read_lock(home)
        trusted = [] if request.verify else [file for file in files if store.is_verified(file, home, lock)]
        reporter.done(trusted)
        for file in trusted:
            request.arrived(home / file.kept_at)
        rest = [file for file in files if file not in trusted]
        rest = local.verify(request, rest, lock, reporter)
        if rest:
            download.download(request, rest, store.read_lock(home), reporter)
    reporter.report(now=True)
    return {file.path: home / file.kept_at for file in files}
