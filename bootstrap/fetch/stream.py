"""One connection's thread: takes parts, asks for their range, hands over what arrives."""

from __future__ import annotations

import math
import random
import re
import threading
import time
from typing import TYPE_CHECKING

from bootstrap.errors import KitError
from bootstrap.fetch import errors
from bootstrap.fetch.connection import Connection, Head, Origin, Unzipped, target_of
from bootstrap.fetch.errors import TryAgain
from bootstrap.fetch.hashing import new_block
from bootstrap.fetch.hub import Located, Site
from bootstrap.fetch.transfer import Part, Work

if TYPE_CHECKING:
    from bootstrap.fetch.scheduler import Engine

ANSWER_SECONDS = 30.0
FIRST_BACKOFF_SECONDS = 0.25
LONGEST_BACKOFF_SECONDS = 20.0
BURST_SECONDS = 0.2  # what the server had written before anybody read comes faster than the link
PORTION_SECONDS = 0.2  # of a connection's bytes, before the engine hears of them
LOOKING_PORTION_SECONDS = 0.05  # two or more in each look at the rate
SMALLEST_PORTION_BYTES = 256 * 1024


class Stream(threading.Thread):
    """Runs until the engine has no more parts for it."""

    def __init__(self, engine: Engine, number: int) -> None:
        super().__init__(name="stream", daemon=True)
        self._engine = engine
        self.number = number
        self._connection: Connection | None = None
        self.block = new_block()
        self._failures = 0
        self._refusals = 0
        self._first_at = math.inf
        self.part: Part | None = None
        self.heard_at = time.monotonic()
        self.site_name = "the server"
        self.rate = 0.0
        self.answer_seconds = 0.0

    def run(self) -> None:
        try:
            while (part := self._engine.take(self)) is not None:
                self._serve(part)
        except BaseException as error:
            self._engine.fail(error)
        finally:
            self.part = None
            self._close()

    def works(self, now: float) -> bool:
        """Whether it brings bytes at its usual rate: what lay in buffers at first says nothing of it."""
        return now - self._first_at > BURST_SECONDS and now - self.heard_at < 1.5

    def abort(self) -> None:
        connection = self._connection
        if connection is not None:
            connection.abort()

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _serve(self, part: Part) -> None:
        self.heard_at = time.monotonic()
        self.part = part
        site = self._engine.sites.choose(self.site_name, self.number, part.work)
        self.site_name = site.name
        why: TryAgain | None = None
        try:
            self._fetch(part, site)
            self._failures = self._refusals = 0
            if self.rate:
                self._engine.sites.measured(site, self.rate)
        except TryAgain as reason:
            why = reason
        except KitError as error:
            if isinstance(error, errors.SiteError) and self._engine.sites.drop(site.name, part.work):
                why = TryAgain(error.problem)
            else:
                raise
        finally:
            self.part = None
            self._engine.end_whole(part.work, self)
            with self._engine.lock:
                was_taken = part not in part.work.flying or part.pos >= part.end
                part.work.give_back(part)
                self._engine.lock.notify_all()
        if why is not None:
            self._close()
            if not was_taken or why.is_nonsense:
                self._recover(why, site, part.work)

    def _recover(self, why: TryAgain, site: Site, work: Work) -> None:
        if why.is_nonsense:
            count = self._engine.sites.spoke_nonsense(site)
            if count >= self._engine.patience.strikes and not self._engine.sites.drop(site.name, work):
                raise KitError(
                    f"{site.name} cannot be used for {work.file.path}: {why.why}",
                    fix="name another mirror, or bypass the proxy between this box and the hub",
                )
        self._engine.stumbled(self, why)
        if why.url_is_old:
            return
        self._failures += 1
        if self._failures >= 4:
            self._engine.sites.drop(site.name, work)
        backoff = min(FIRST_BACKOFF_SECONDS * 2 ** (self._failures - 1), LONGEST_BACKOFF_SECONDS)
        self._pause(max(why.wait_seconds or 0.0, backoff * random.uniform(0.5, 1.0)))  # noqa: S311 (jitter)

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        with self._engine.lock:
            while not self._engine.stopping and (left := until - time.monotonic()) > 0:
                self._engine.lock.wait(left)

    def _fetch(self, part: Part, site: Site) -> None:
        located = self._engine.sites.locate(part.work, site)
        self.heard_at = time.monotonic()
        connection = self._connect(located.origin)
        with self._engine.lock:
            first, last = part.pos, part.end - 1
        if last < first:
            return  # another connection took all of it meanwhile
        headers = {"Range": f"bytes={first}-{last}"}
        if located.token:
            headers["Authorization"] = f"Bearer {located.token}"
        try:
            began = time.monotonic()
            head = connection.request("GET", target_of(located.url), headers, seconds=ANSWER_SECONDS)
            self.heard_at = time.monotonic()
            self.answer_seconds = self.heard_at - began
            if head.status == 206:
                self._check_range(head, part, located.origin)
                self._receive(part, connection)
            elif head.status == 200:
                self._receive_whole(part, connection, head, located.origin)
            else:
                self._refused(head, part, located, site)
            connection.finish()
        except OSError as error:
            raise errors.of_network(error, located.origin) from error

    def _connect(self, origin: Origin) -> Connection:
        if self._connection is None or self._connection.origin != origin:
            self._close()
            self._connection = Connection(origin)
        return self._connection

    def _check_range(self, head: Head, part: Part, origin: Origin) -> None:
        match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", head.headers.get("content-range", "").strip())
        if not match or int(match[1]) != part.pos:
            raise TryAgain(f"{origin} answers with another range than was asked for", is_nonsense=True)
        if match[3] != "*" and int(match[3]) != part.work.file.bytes:
            raise TryAgain(
                f"{origin} has {match[3]} bytes of {part.work.file.path}, not {part.work.file.bytes}",
                is_nonsense=True,
            )
        if head.headers.get("content-encoding", "identity").lower() not in ("identity", ""):
            raise TryAgain(f"{origin} compresses a range, which makes it useless", is_nonsense=True)
        length = head.number("content-length")
        if length is not None and length != int(match[2]) - int(match[1]) + 1:
            raise TryAgain(f"{origin} announces {length} bytes for another range", is_nonsense=True)
        self._check_etag(head, part.work, origin)

    def _check_etag(self, head: Head, work: Work, origin: Origin) -> None:
        """Where no digest is known, at least no two versions of a file are mixed."""
        etag = head.headers.get("etag")
        if work.expected is not None or etag is None or etag.startswith("W/"):
            return
        with self._engine.lock:
            before, work.etag = work.etag, etag
            if before not in (None, etag):
                if work.restarts:
                    raise KitError(
                        f"{work.file.path} changes on {origin} while it is fetched",
                        fix="start again when it is complete",
                    )
                self._engine.hashing.restart(work)
                raise TryAgain(f"{work.file.path} changed on {origin} and is fetched again")

    def _receive(self, part: Part, connection: Connection) -> None:
        began, before = time.monotonic(), part.pos
        while part.pos < part.end:
            count = connection.receive(self.block[: min(part.end - part.pos, self._portion_bytes(part))])
            if count == 0:
                if connection.at_end:
                    raise TryAgain(f"{connection.origin} ended the range early")
                if self._engine.stopping:
                    return
                continue
            self.heard_at = time.monotonic()
            self._first_at = min(self._first_at, self.heard_at)
            if not self._engine.arrived(part, self, count):
                break
        self.rate = (part.pos - before) / max(time.monotonic() - began, 1e-3)

    def _portion_bytes(self, part: Part) -> int:
        """How much to receive before the engine hears of it: large, to be woken seldom, but no longer than
        the rate can wait to be told."""
        seconds = LOOKING_PORTION_SECONDS if self._engine.is_looking else PORTION_SECONDS
        rate = self.rate or part.rate(time.monotonic())
        return int(min(max(rate * seconds, SMALLEST_PORTION_BYTES), len(self.block)))

    def _receive_whole(self, part: Part, connection: Connection, head: Head, origin: Origin) -> None:
        """The server ignores ranges: this connection alone reads the file from the front."""
        work = part.work
        encoding = head.headers.get("content-encoding", "identity").lower()
        length = head.number("content-length")
        if encoding not in ("identity", "", "gzip"):
            raise TryAgain(f"{origin} answers with encoding {encoding}", is_nonsense=True)
        if encoding != "gzip" and length not in (None, work.file.bytes):
            raise TryAgain(
                f"{origin} sends {length} bytes for {work.file.path}, the manifest says {work.file.bytes}",
                is_nonsense=True,
            )
        self._check_etag(head, work, origin)
        body = Unzipped(connection) if encoding == "gzip" else connection
        if not self._engine.begin_whole(part, self):
            self._close()  # another connection reads the file from the front already
            return
        offset = 0
        while offset < work.file.bytes:
            count = body.receive(self.block[: work.file.bytes - offset])
            if count == 0:
                if body.at_end:
                    raise TryAgain(
                        f"{origin} sent {offset} of {work.file.bytes} bytes of {work.file.path}",
                        is_nonsense=True,
                    )
                if self._engine.stopping:
                    return
                continue
            self.heard_at = time.monotonic()
            self._first_at = min(self._first_at, self.heard_at)
            self._engine.arrived_whole(work, self.block[:count], offset)
            offset += count

    def _refused(self, head: Head, part: Part, located: Located, site: Site) -> None:
        origin = located.origin
        if head.status in (400, 401, 403, 410) and self._refusals < 3:
            self._refusals += 1
            self._engine.sites.forget(part.work, site, located)
            raise TryAgain(f"the address at {origin} has expired (status {head.status})", url_is_old=True)
        raise errors.of_status(head, origin, part.work.file.path)
