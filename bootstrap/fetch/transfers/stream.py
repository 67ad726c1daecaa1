"""One connection's thread: takes ranges, requests them, hands over what arrives."""

from __future__ import annotations

import math
import random
import re
import threading
import time

from bootstrap.errors import KitError
from bootstrap.fetch import asking, errors
from bootstrap.fetch.errors import TryAgain
from bootstrap.fetch.http.connection import Connection
from bootstrap.fetch.http.head import Head
from bootstrap.fetch.http.origin import Origin, target_of
from bootstrap.fetch.http.unzipped import Unzipped
from bootstrap.fetch.located import Located, Mirror
from bootstrap.fetch.transfers.control import Control
from bootstrap.fetch.transfers.hashing import new_block
from bootstrap.fetch.transfers.landing import Landing
from bootstrap.fetch.transfers.mirrors import Mirrors
from bootstrap.fetch.transfers.scheduler import Scheduler
from bootstrap.fetch.transfers.transfer import FileTransfer, Range

ANSWER_SECONDS = 30.0
FIRST_BACKOFF_SECONDS = 0.25
LONGEST_BACKOFF_SECONDS = 20.0
BURST_SECONDS = 0.2  # what the server had written before anybody read comes faster than the link
PORTION_SECONDS = 0.2  # of a connection's bytes, before they are handed over
LOOKING_PORTION_SECONDS = 0.05  # two or more in each look at the rate
SMALLEST_PORTION_BYTES = 256 * 1024


class Stream(threading.Thread):
    """Runs until the scheduler has no more ranges for it."""

    def __init__(
        self, number: int, control: Control, scheduler: Scheduler, landing: Landing, mirrors: Mirrors
    ) -> None:
        super().__init__(name="stream", daemon=True)
        self._number = number
        self._control = control
        self._scheduler = scheduler
        self._landing = landing
        self._mirrors = mirrors
        self._connection: Connection | None = None
        self._block = new_block()
        self._failures = 0
        self._refusals = 0
        self._first_at = math.inf
        self.wanted: Range | None = None
        self.received_at = time.monotonic()
        self.mirror_name = "the server"
        self.rate = 0.0
        self.answer_seconds = 0.0

    def run(self) -> None:
        try:
            while (wanted := self._scheduler.take(self)) is not None:
                self._serve(wanted)
        except BaseException as error:
            self._control.fail(error)
        finally:
            self.wanted = None
            self._close()

    def is_steady(self, now: float) -> bool:
        """Whether it brings bytes at its usual rate: the first bytes come from buffers."""
        return now - self._first_at > BURST_SECONDS and now - self.received_at < 1.5

    def abort(self) -> None:
        """End the request under way; from any thread."""
        connection = self._connection
        if connection is not None:
            connection.abort()

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _serve(self, wanted: Range) -> None:
        self.received_at = time.monotonic()
        self.wanted = wanted
        mirror = self._mirrors.choose(self.mirror_name, self._number, wanted.transfer)
        self.mirror_name = mirror.name
        why: TryAgain | None = None
        try:
            self._fetch(wanted, mirror)
            self._failures = self._refusals = 0
            if self.rate:
                self._mirrors.measured(mirror, self.rate)
        except TryAgain as reason:
            why = reason
        except KitError as error:
            if isinstance(error, errors.MirrorError) and self._mirrors.drop(mirror.name, wanted.transfer):
                why = TryAgain(error.problem)
            else:
                raise
        finally:
            self.wanted = None
            is_complete = self._scheduler.give_back(wanted, self)
        if why is not None:
            self._close()
            if not is_complete or why.is_nonsense:
                self._recover(why, mirror, wanted.transfer)

    def _recover(self, why: TryAgain, mirror: Mirror, transfer: FileTransfer) -> None:
        if why.is_nonsense:
            self._mirrors.count_nonsense(mirror, transfer, why.why)
        self._scheduler.failed(why)
        if why.url_is_old:
            return
        self._failures += 1
        if self._failures >= 4:
            self._mirrors.drop(mirror.name, transfer)
        backoff = min(FIRST_BACKOFF_SECONDS * 2 ** (self._failures - 1), LONGEST_BACKOFF_SECONDS)
        jitter = random.uniform(0.5, 1.0)  # noqa: S311
        self._control.pause(max(why.wait_seconds or 0.0, backoff * jitter))

    def _fetch(self, wanted: Range, mirror: Mirror) -> None:
        located = self._mirrors.locate(wanted.transfer, mirror)
        self.received_at = time.monotonic()
        with self._control.lock:
            first, last = wanted.pos, wanted.end - 1
        if last < first:
            return  # another connection took all of it meanwhile
        try:
            head, located, connection = self._ask(wanted.transfer, mirror, located, f"bytes={first}-{last}")
            if head.status == 206:
                _check_range(head, wanted, located.origin)
                self._landing.check_version(wanted.transfer, head.headers.get("etag"), located.origin)
                self._receive(wanted, connection)
            elif head.status == 200:
                _check_whole(head, wanted.transfer, located.origin)
                self._landing.check_version(wanted.transfer, head.headers.get("etag"), located.origin)
                self._receive_whole(wanted.transfer, connection, head, located.origin)
            else:
                self._refused(head, wanted.transfer, located, mirror)
            connection.finish()
        except OSError as error:
            self._mirrors.forget_moved(wanted.transfer, mirror)
            raise errors.of_network(error, self._connection or Connection(located.origin)) from error

    def _ask(
        self, transfer: FileTransfer, mirror: Mirror, located: Located, range_: str
    ) -> tuple[Head, Located, Connection]:
        """Request a range where the file is; storage may point on, and its last address is remembered."""
        hosts = []
        for _ in range(asking.MAX_REDIRECTS + 1):
            hosts.append(str(located.origin))
            connection = self._connect(located.origin)
            headers = {"Range": range_}
            if located.authorization:
                headers["Authorization"] = located.authorization
            began = time.monotonic()
            head = connection.request("GET", target_of(located.url), headers, seconds=ANSWER_SECONDS)
            self.received_at = time.monotonic()
            self.answer_seconds = self.received_at - began
            there = asking.pointed_to(head, located.url)
            if there is None:
                return head, located, connection
            connection.finish()
            moved = located.moved(there, head.headers.get("date"))
            self._mirrors.replace(transfer, mirror, located, moved)
            located = moved
        raise errors.circles(hosts, transfer.file.path, fix="check the source in the manifest")

    def _connect(self, origin: Origin) -> Connection:
        if self._connection is None or self._connection.origin != origin:
            self._close()
            self._connection = Connection(origin)
        return self._connection

    def _receive(self, wanted: Range, connection: Connection) -> None:
        began, before = time.monotonic(), wanted.pos
        while wanted.pos < wanted.end:
            size = min(wanted.end - wanted.pos, self._portion_bytes(wanted))
            count = connection.receive(self._block[:size])
            if count == 0:
                if connection.at_end:
                    raise TryAgain(f"{connection.origin} ended the range early")
                if self._control.stopping:
                    return
                continue
            self.received_at = time.monotonic()
            self._first_at = min(self._first_at, self.received_at)
            self._block, goes_on = self._landing.land(wanted, self._block, count)
            if not goes_on:
                break
        self.rate = (wanted.pos - before) / max(time.monotonic() - began, 1e-3)

    def _portion_bytes(self, wanted: Range) -> int:
        """How much to receive before it is handed over: large, so that Python is woken seldom, but no larger
        than comes before the rate is looked at again."""
        seconds = LOOKING_PORTION_SECONDS if self._scheduler.is_looking else PORTION_SECONDS
        rate = self.rate or wanted.rate(time.monotonic())
        return int(min(max(rate * seconds, SMALLEST_PORTION_BYTES), len(self._block)))

    def _receive_whole(
        self, transfer: FileTransfer, connection: Connection, head: Head, origin: Origin
    ) -> None:
        """The server ignores ranges: this connection alone reads the file from the front."""
        body = Unzipped(connection) if _encoding(head) == "gzip" else connection
        if not self._scheduler.read_whole(transfer, self):
            self._close()  # another connection reads the file from the front already
            return
        offset, total = 0, transfer.file.bytes
        while offset < total:
            count = body.receive(self._block[: total - offset])
            if count == 0:
                if body.at_end:
                    raise TryAgain(
                        f"{origin} sent {offset} of {total} bytes of {transfer.file.path}", is_nonsense=True
                    )
                if self._control.stopping:
                    return
                continue
            self.received_at = time.monotonic()
            self._first_at = min(self._first_at, self.received_at)
            self._landing.land_whole(transfer, self._block[:count], offset)
            offset += count

    def _refused(self, head: Head, transfer: FileTransfer, located: Located, mirror: Mirror) -> None:
        origin = located.origin
        is_old = head.status in (400, 401, 403, 410) or (head.status == 404 and located.was_moved)
        if is_old and self._refusals < 3:
            self._refusals += 1
            self._mirrors.forget(transfer, mirror, located)
            raise TryAgain(f"the address at {origin} has expired (status {head.status})", url_is_old=True)
        takes_key = mirror.takes_key and not located.was_moved
        raise errors.of_status(head, origin, transfer.file.path, takes_key=takes_key)


def _encoding(head: Head) -> str:
    """Of the body; empty when it is sent as it is."""
    encoding = head.headers.get("content-encoding", "").lower()
    return "" if encoding == "identity" else encoding


def _check_range(head: Head, wanted: Range, origin: Origin) -> None:
    """A 206 must be the range that was requested, of the file that the manifest describes."""
    size = wanted.transfer.file.bytes
    match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", head.headers.get("content-range", "").strip())
    if not match or int(match[1]) != wanted.pos:
        raise TryAgain(f"{origin} answers with another range than was asked for", is_nonsense=True)
    if match[3] != "*" and int(match[3]) != size:
        raise TryAgain(
            f"{origin} has {match[3]} bytes of {wanted.transfer.file.path}, not {size}", is_nonsense=True
        )
    if _encoding(head):
        raise TryAgain(f"{origin} compresses a range, which makes it useless", is_nonsense=True)
    length = head.number("content-length")
    if length is not None and length != int(match[2]) - int(match[1]) + 1:
        raise TryAgain(f"{origin} announces {length} bytes for another range", is_nonsense=True)


def _check_whole(head: Head, transfer: FileTransfer, origin: Origin) -> None:
    """A 200 must be the whole file, as it is or gzipped."""
    encoding, length = _encoding(head), head.number("content-length")
    if encoding not in ("", "gzip"):
        raise TryAgain(f"{origin} answers with encoding {encoding}", is_nonsense=True)
    if not encoding and length not in (None, transfer.file.bytes):
        raise TryAgain(
            f"{origin} sends {length} bytes for {transfer.file.path},"
            f" the manifest says {transfer.file.bytes}",
            is_nonsense=True,
        )
