"""One fetch from beginning to end: what is there, what is linked, what is downloaded."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from bootstrap import files
from bootstrap.choose.manifest import File, Manifest, Source
from bootstrap.errors import KitError
from bootstrap.fetch import digest, errors, external, hashing, hub, store
from bootstrap.fetch.bottleneck import Limit
from bootstrap.fetch.errors import TryAgain
from bootstrap.fetch.hub import Located, Site
from bootstrap.fetch.journal import Claims, Journal
from bootstrap.fetch.progress import FileProgress, Meter, Report
from bootstrap.fetch.scheduler import Engine, Patience
from bootstrap.fetch.store import Basis, Entry, Lock, Stamp
from bootstrap.fetch.transfer import Work

LOCK_WRITE = threading.Lock()


@dataclass(frozen=True)
class Order:
    """What ``bootstrap.fetch.fetch`` was asked for."""

    manifest: Manifest
    home: Path
    token: str | None
    endpoint: str
    mirrors: tuple[str, ...]
    downloader: str
    verify: bool
    connections: int | None
    patience: Patience = field(default_factory=Patience)
    arrived: Callable[[Path], None] = lambda _: None


def run(order: Order, report: Report) -> dict[str, Path]:
    """See ``bootstrap.fetch.fetch``."""
    if order.downloader not in ("kinokit", *external.NAMES):
        raise KitError(
            f"no downloader is called {order.downloader!r}",
            fix=f"use one of kinokit, {', '.join(external.NAMES)}",
        )
    board = Board(order.manifest, Meter(report))
    with store.only_fetcher(order.home, board.waits_for):
        board.meter.note = None
        lock = store.read_lock(order.home)
        trusted = [] if order.verify else _verified(order, lock)
        board.done(trusted)
        for file in trusted:
            order.arrived(order.home / file.kept_at)
        rest = [file for file in order.manifest.files if file not in trusted]
        rest = _hash_what_is_here(order, rest, lock, board)
        if rest:
            _download(order, rest, store.read_lock(order.home), board)
    board.tell(now=True)
    return {file.path: order.home / file.kept_at for file in order.manifest.files}


class Board:
    """Where all files stand; tells the meter."""

    def __init__(self, manifest: Manifest, meter: Meter) -> None:
        self._files = {f.path: FileProgress(f.path, 0, f.bytes, "waiting") for f in manifest.files}
        self.meter = meter
        self._lock = threading.Lock()

    def done(self, files: Sequence[File]) -> None:
        for file in files:
            self._files[file.path] = FileProgress(file.path, file.bytes, file.bytes, "done")

    def show(self, works: Sequence[Work], *, now: bool = False) -> None:
        for work in works:
            count = work.bytes_done if work.sites else min(work.fetched_bytes, work.file.bytes)
            if work.finished:
                count = work.file.bytes
            self._files[work.file.path] = FileProgress(work.file.path, count, work.file.bytes, work.state)
        self.tell(now=now)

    def tell(self, *, now: bool = False) -> None:
        with self._lock:
            self.meter.tell(tuple(self._files.values()), now=now)

    def waits_for(self, pid: int | None) -> None:
        self.meter.note = f"another kinokit (process {pid}) is fetching into this folder; waiting for it"
        self.tell()


def _verified(order: Order, lock: Lock) -> list[File]:
    return [file for file in order.manifest.files if store.is_verified(file, order.home, lock)]


# ---- files that are on this box already ---------------------------------------------------------------


def _hash_what_is_here(order: Order, files: list[File], lock: Lock, board: Board) -> list[File]:
    """Verify what lies in its place, in a folder or in the box's hub cache; returns what is missing."""
    works = [work for file in files if (work := _present(order, file, lock)) is not None]
    if works:
        crew = Engine(works, finish=lambda work: _keep_checked(order, work))
        crew.run(lambda: board.show(works))
        board.show(works, now=True)
    good = {work.file.path for work in works if not work.bad}
    return [file for file in files if file.path not in good]


def _present(order: Order, file: File, lock: Lock) -> Work | None:
    source = file.source or order.manifest.source
    final = order.home / file.kept_at
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
    expected, by_git = _expected(file)
    work = Work(file, final, expected, by_git, "manifest" if expected else "size", [], original)
    _use_states(work, lock.get(file.kept_at))
    work.plan(set(range(work.pieces)))
    work.set_lanes()
    work.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    work.state = "verifying"
    return work


def _check_size(file: File, original: Path) -> None:
    seen = Stamp.of(original)
    if seen is None or seen.size != file.bytes:
        state = "is not there" if seen is None else f"has {seen.size} bytes"
        raise KitError(
            f"{original} {state}; {file.bytes} bytes are expected",
            fix="make the file again, or correct the manifest",
        )


def _keep_checked(order: Order, work: Work) -> None:
    if not work.bad:
        if work.original is not None:
            _link(work.original, work.final)
        _record(order, work)
        order.arrived(work.final)
        return
    if work.original is None:
        _demote(work)
    elif order.manifest.source.folder is not None and work.file.source is None:
        raise KitError(
            f"{work.original} is damaged: its digest is {work.lanes[-1].digest.hexdigest()},"
            f" expected {work.expected}",
            fix="make or copy the file again",
        )


def _demote(work: Work) -> None:
    """A damaged file loses its final name at once; what is right of it is kept."""
    try:
        work.final.replace(work.part)
    except OSError as error:
        raise store.cannot_write(work.final.parent, error) from error
    journal = _journal(work)
    good = set(range(work.pieces)) - work.bad
    journal.begin(Claims(written=good, verified=good, states=work.states if work.known else {}))
    journal.close()


def _link(original: Path, final: Path) -> None:
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        with files.replacing(final) as link:
            link.symlink_to(original)
    except OSError as error:
        raise store.cannot_write(final.parent, error) from error


# ---- files that have to come ---------------------------------------------------------------------------


def _download(order: Order, files: list[File], lock: Lock, board: Board) -> None:
    places = _locate_all(order, files, board)
    works = [_work(order, file, places[file.path], lock) for file in files]
    _check_disk(order, works)
    if order.downloader != "kinokit":
        _let_others(order, works, places, board)
        return
    limit = Limit()
    crew = Engine(
        works,
        finish=lambda work: _publish(order, work, limit),
        connections=order.connections,
        patience=order.patience,
    )
    for work in works:
        crew.sites.know(work, work.sites[0], places[work.file.path][1])

    def tell() -> None:
        limit.see(
            time.monotonic(),
            received=crew.received,
            write_seconds=crew.write_seconds,
            connections=sum(len(work.flying) for work in works),
        )
        board.meter.note = crew.note() or limit.note()
        board.show(works)

    try:
        crew.run(tell)
    except BaseException:
        for work in works:
            work.state = "done" if work.finished else "failed"
        board.show(works, now=True)
        raise
    board.meter.note = _unchecked(works) or limit.note()
    board.show(works, now=True)


def _let_others(
    order: Order, works: list[Work], places: dict[str, tuple[list[Site], Located]], board: Board
) -> None:
    """Another downloader, one file after the other, each verified while the page cache still has it."""
    for work in works:
        source = work.file.source or order.manifest.source
        if order.downloader == "hf-hub" and not source.repo:
            raise KitError(
                f"hf-hub cannot fetch {work.file.path}, which is not on the hub", fix="leave --downloader out"
            )
        for _ in range(2):
            if _brought(order, work, source, places[work.file.path][1], board):
                break
        else:
            found = work.lanes[-1].digest.hexdigest()
            raise hashing.Damaged(replace(work, sites=places[work.file.path][0]), found)
    board.meter.note = _unchecked(works)
    board.show(works, now=True)


def _brought(order: Order, work: Work, source: Source, located: Located, board: Board) -> bool:
    """Whether the other downloader brought the right bytes, which then have their final name."""

    def advanced(count: int) -> None:
        work.fetched_bytes, work.state = count, "running"
        board.show([work])

    work.sites = []
    if work.file.bytes:
        external.bring(
            order.downloader,
            work,
            located,
            source,
            endpoint=order.endpoint,
            token=order.token,
            stalled_seconds=order.patience.stalled * 3,
            advanced=advanced,
        )
        work.descriptor = os.open(work.part, os.O_RDWR | os.O_CLOEXEC)
    work.fetched_bytes, work.state, work.finished, work.closing = 0, "verifying", False, False
    work.bad.clear()
    work.plan(set(range(work.pieces)))
    work.set_lanes()

    def finish(work: Work) -> None:
        if not work.bad:
            _publish(order, work, Limit())

    Engine([work], finish=finish).run(lambda: board.show([work]))
    return not work.bad


def _locate_all(order: Order, files: list[File], board: Board) -> dict[str, tuple[list[Site], Located]]:
    """Ask for every file before a byte of any is fetched: a closed gate or a wrong name is found here."""
    with ThreadPoolExecutor(8, thread_name_prefix="locate") as pool:
        asked = {file.path: pool.submit(_locate, order, file, board) for file in files}
        try:
            return {path: each.result() for path, each in asked.items()}
        finally:
            pool.shutdown(cancel_futures=True)


def _locate(order: Order, file: File, board: Board) -> tuple[list[Site], Located]:
    source = file.source or order.manifest.source
    sites = hub.sites(source, order.manifest.licence, order.token, order.endpoint, order.mirrors)
    began, pause = time.monotonic(), 0.25
    while True:
        reasons = []
        for index, site in enumerate(sites):
            try:
                found = site.locate(file)
            except TryAgain as why:
                reasons.append(why)
                continue
            _check_place(file, source.repo, site, found)
            return sites[index:] + sites[:index], found
        wait = max([pause, *(why.wait_seconds or 0.0 for why in reasons)])
        if time.monotonic() + wait - began > max(order.patience.to_begin, reasons[0].wait_seconds or 0.0):
            raise errors.unreachable(reasons[0].why, time.monotonic() - began)
        board.meter.note = f"{reasons[0].why}; trying again"
        board.tell()
        time.sleep(wait)
        pause = min(pause * 2, 5.0)


def _check_place(file: File, repo: str | None, site: Site, found: Located) -> None:
    what = f"{repo}/{file.path}" if repo else file.path
    if found.bytes not in (None, file.bytes):
        raise KitError(
            f"{what} has {found.bytes} bytes on {site.name}, the manifest says {file.bytes}",
            fix="correct the manifest, or pin the revision it was made for",
        )
    for asked, there in ((file.sha256, found.sha256), (file.git_oid, found.git_oid)):
        if asked and there and asked != there:
            raise KitError(
                f"{what} on {site.name} is another file: its digest is {there}, the manifest says {asked}",
                fix="correct the manifest, or pin the revision it was made for",
            )


def _work(order: Order, file: File, place: tuple[list[Site], Located], lock: Lock) -> Work:
    sites, found = place
    expected, by_git = _expected(file)
    basis: Basis = "manifest"
    if expected is None:
        expected, by_git = found.sha256 or found.git_oid, found.sha256 is None and found.git_oid is not None
        basis = "hub" if expected else "size"
    work = Work(file, order.home / file.kept_at, expected, by_git, basis, sites)
    _use_states(work, lock.get(file.kept_at))
    work.journal = _journal(work)
    _resume(work, work.journal.read())
    return work


def _resume(work: Work, claims: Claims) -> None:
    """Set the work out as the journal allows; see ``journal`` for what is believed when."""
    hashed = 0
    while hashed in claims.states and hashed in claims.written:
        hashed += 1
    if not work.known and claims.states:
        work.states = {piece: claims.states[piece] for piece in range(hashed)}
        if not claims.same_boot:  # each piece is checked against the state that was found before
            work.known = hashed
    believed = work.pieces if claims.same_boot else work.known
    written = {piece for piece in claims.written if piece < believed}
    verified = claims.verified & written if claims.same_boot and work.known else set()
    work.claims = Claims(written, verified, dict(work.states))
    work.plan(written)
    work.set_lanes()
    for piece in verified:
        if piece < len(work.lanes) and work.lanes[piece].end == work.bounds(piece)[1]:
            work.lanes[piece].hashed = work.lanes[piece].end
    if claims.same_boot and not work.known and digest.library() and not work.by_git:
        lane, offset = work.lanes[0], hashed * digest.PIECE_BYTES
        if 0 < offset < lane.end:
            lane.hashed, lane.digest = offset, digest.sha256(claims.states[hashed - 1], offset)


def _check_disk(order: Order, works: list[Work]) -> None:
    needed = sum(work.file.bytes - _allocated(work.part) for work in works)
    free = store.free_bytes(order.home)
    if needed > free:
        raise KitError(
            f"{order.manifest.name} needs {needed / 1e9:.2f} GB more on the disk of {order.home};"
            f" {free / 1e9:.2f} GB are free",
            fix="free some space, rent a larger disk, or choose another place with --data-dir",
        )


def _allocated(part: Path) -> int:
    with suppress(OSError):
        return part.stat().st_blocks * 512
    return 0


def _publish(order: Order, work: Work, limit: Limit) -> None:
    """Verified: give it its name, make it durable, record it.

    It may be loaded, from memory, while a slow disk still writes it out. Until it is recorded, a later start
    hashes it again: what a box that lost its power has of it is not believed.
    """
    try:
        if work.descriptor is None:  # an empty file: nothing ever arrived
            work.part.parent.mkdir(parents=True, exist_ok=True)
            work.descriptor = os.open(work.part, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        work.part.replace(work.final)
        order.arrived(work.final)
        with limit.flushing():
            os.fsync(work.descriptor)
            _sync_folder(work.final.parent)
    except OSError as error:
        raise store.cannot_write(work.final.parent, error) from error
    _record(order, work)
    if work.journal:
        work.journal.remove()


def _sync_folder(folder: Path) -> None:
    with suppress(OSError):  # not every network disk can
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _record(order: Order, work: Work) -> None:
    stamp = Stamp.of(work.final)
    assert stamp is not None, "recorded a file that is not there"
    whole = range(work.file.bytes // digest.PIECE_BYTES)
    lane = work.lanes[-1]
    if (
        whole
        and not work.by_git
        and isinstance(lane.digest, digest.Chain)
        and not lane.end % digest.PIECE_BYTES
    ):
        work.states[whole[-1]] = lane.digest.state()
    states = tuple(work.states[k].hex() for k in whole) if all(k in work.states for k in whole) else ()
    found = lane.digest.hexdigest()
    entry = Entry(
        bytes=work.file.bytes,
        basis=work.basis,
        stamp=stamp,
        sha256=None if work.by_git else found,
        git_oid=found if work.by_git else None,
        piece_bytes=digest.PIECE_BYTES if states else None,
        pieces=() if work.by_git else states,
    )
    try:
        with LOCK_WRITE:
            store.add_to_lock(order.home, work.file.kept_at, entry)
    except OSError as error:
        raise store.cannot_write(order.home, error) from error


def _expected(file: File) -> tuple[str | None, bool]:
    return file.sha256 or file.git_oid, file.sha256 is None and file.git_oid is not None


def _use_states(work: Work, entry: Entry | None) -> None:
    """Take SHA-256's states from the lock; they need no trust, the file's digest still decides."""
    if entry is None or work.by_git or work.expected is None or entry.sha256 != work.expected:
        return
    if entry.piece_bytes == digest.PIECE_BYTES and len(entry.pieces) == work.file.bytes // digest.PIECE_BYTES:
        work.states = {piece: bytes.fromhex(state) for piece, state in enumerate(entry.pieces)}
        work.known = len(entry.pieces)


def _journal(work: Work) -> Journal:
    return Journal(work.part, size=work.file.bytes, expected=work.expected or "unknown")


def _unchecked(works: list[Work]) -> str | None:
    blind = [work.file.path for work in works if work.basis == "size"]
    if not blind:
        return None
    return f"no digest is published for {', '.join(blind)}: only the size was checked"
