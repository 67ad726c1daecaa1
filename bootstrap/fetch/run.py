"""One fetch from beginning to end: what is verified, what is here to be hashed, what is downloaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bootstrap.choose.manifest import File
from bootstrap.errors import KitError
from bootstrap.fetch import download, external, lease, local, store
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
    if request.verify or store.missing(request.manifest, home):
        while True:
            try:
                with lease.only_fetcher(home, reporter.waits_for) as still_ours:
                    reporter.meter.note = None
                    _complete(replace(request, still_ours=still_ours), reporter)
                    break
            except lease.Lost:
                continue  # this machine stood still, and another goes on: wait for it
    else:  # nothing is written: the volume may be read-only, or another box at work on it
        _trust(request, files, reporter)
    reporter.report(now=True)
    return {file.path: home / file.kept_at for file in files}


def _complete(request: Request, reporter: Reporter) -> None:
    files, home = request.manifest.files, request.home
    lock = store.read_lock(home)
    trusted = [] if request.verify else [file for file in files if store.is_verified(file, home, lock)]
    _trust(request, trusted, reporter)
    rest = [file for file in files if file not in trusted]
    rest = local.verify(request, rest, lock, reporter)
    if rest:
        download.download(request, rest, store.read_lock(home), reporter)


def _trust(request: Request, files: Sequence[File], reporter: Reporter) -> None:
    """They were verified before, and look as they did then."""
    reporter.done(files)
    for file in files:
        request.arrived(request.home / file.kept_at)
