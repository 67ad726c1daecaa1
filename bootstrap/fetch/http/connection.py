"""One HTTP/1.1 connection that receives straight into the caller's buffer.

HTTP/2 would put every range on one TCP flow, and a library's layers cost more than the transfer on a box
with few cores. It needs little of HTTP: GET and HEAD, ranges, keep-alive, three framings.
"""

from __future__ import annotations

import os
import socket
import ssl
import struct
import time
from collections.abc import Mapping

from bootstrap import __version__, certificates
from bootstrap.fetch.http import dial, proxies, proxy_failed, tunnels
from bootstrap.fetch.http.head import Broken, Head, parse
from bootstrap.fetch.http.origin import Origin
from bootstrap.fetch.http.proxies import Proxy

CONNECT_SECONDS = 10.0
TICK_SECONDS = 1.0  # the longest time until a receive returns
MAX_HEAD_BYTES = 128 * 1024


class Connection:
    """Connects to one origin; used by one thread, but any may call ``abort``."""

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        self.proxy: Proxy | None = None  # that the open connection goes through
        self._socket: socket.socket | None = None
        self._spare = b""  # what came with the head, or after a chunk
        self._left: int | None = 0  # of the body or the chunk; None: until the server closes
        self._chunked = False
        self._chunks_end = False
        self._keep = True
        self._aborted = False

    def request(self, method: str, target: str, headers: Mapping[str, str], *, seconds: float) -> Head:
        """Send a request, read the answer's head; an idle connection that died meanwhile is replaced once."""
        fresh = self._socket is None
        try:
            return self._request(method, target, headers, seconds)
        except (ConnectionError, ssl.SSLError):
            if fresh or self._aborted:
                raise
            self.close()
            return self._request(method, target, headers, seconds)

    def _request(self, method: str, target: str, headers: Mapping[str, str], seconds: float) -> Head:
        if self._socket is None:
            self._socket = self._connect()
        passed_on_by = self.proxy if self.origin.scheme == "http" else None
        if passed_on_by is not None and not passed_on_by.is_socks:
            target = self.origin.address + target
            headers = {**headers, **passed_on_by.authorization}
        lines = [f"{method} {target} HTTP/1.1", f"Host: {self.origin.host_header}"]
        lines += [f"User-Agent: kinokit/{__version__}", "Accept: */*", "Accept-Encoding: identity"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self._socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
        head = self._read_head(time.monotonic() + seconds)
        self._frame(method, head)
        failure = proxy_failed.in_answer(head, passed_on_by, self.origin) if passed_on_by else None
        if failure is not None:
            raise failure
        return head

    def _connect(self) -> socket.socket:
        self.proxy = proxies.of(self.origin, os.environ)
        if self.proxy is None:
            plain = dial.connect(self.origin.host, self.origin.port, CONNECT_SECONDS)
        else:
            plain = tunnels.open_(self.proxy, self.origin, CONNECT_SECONDS)
        made = plain
        if self.origin.scheme == "https":
            try:
                made = certificates.context().wrap_socket(plain, server_hostname=self.origin.host)
            except BaseException:
                plain.close()
                raise
        made.settimeout(None)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(TICK_SECONDS))
        self._aborted = False
        return made

    def _read_head(self, deadline: float) -> Head:
        received = b""
        buffer = bytearray(16 * 1024)
        while True:
            end = received.find(b"\r\n\r\n")
            if end >= 0:
                head = parse(received[:end])
                received = received[end + 4 :]
                if head.status >= 200:
                    self._spare = received
                    return head
                continue
            if len(received) > MAX_HEAD_BYTES:
                raise Broken("the answer has no end of its headers")
            count = self._receive_some(memoryview(buffer))
            if count == 0 and time.monotonic() > deadline:
                raise TimeoutError("no answer")
            received += buffer[:count]

    def _frame(self, method: str, head: Head) -> None:
        self._keep = "close" not in head.headers.get("connection", "").lower()
        self._chunked = "chunked" in head.headers.get("transfer-encoding", "").lower()
        self._chunks_end = False
        if method == "HEAD" or head.status in (204, 304):
            self._chunked, self._left = False, 0
        elif self._chunked:
            self._left = 0
        else:
            self._left = head.number("content-length")
            self._keep = self._keep and self._left is not None

    @property
    def at_end(self) -> bool:
        """Whether the body has been received to its end."""
        return self._chunks_end if self._chunked else self._left == 0

    def receive(self, view: memoryview) -> int:
        """Bytes of the body put into ``view``; 0 when none came for a second, or ``at_end``.

        Raises Broken when the server closes before the length it announced.
        """
        if self._chunked and self._left == 0 and not self._chunks_end:
            self._next_chunk()
        if self.at_end or not len(view):
            return 0
        wanted = view if self._left is None else view[: self._left]
        if self._spare:
            count = min(len(self._spare), len(wanted))
            wanted[:count] = self._spare[:count]
            self._spare = self._spare[count:]
        else:
            try:
                count = self._fill(wanted)
            except Broken:
                if self._left is None:
                    self._left = 0
                    return 0
                raise
        if self._left is not None:
            self._left -= count
        return count

    def _next_chunk(self) -> None:
        line = self._line()
        if not line.strip() and not self._spare:
            line = self._line()
        try:
            self._left = int(line.split(b";")[0].strip() or self._line().split(b";")[0].strip(), 16)
        except ValueError as error:
            raise Broken("a chunk has no length") from error
        if self._left == 0:
            while self._line().strip():
                pass
            self._chunks_end = True

    def _line(self) -> bytes:
        deadline = time.monotonic() + CONNECT_SECONDS
        buffer = bytearray(4096)
        while b"\n" not in self._spare:
            count = self._receive_some(memoryview(buffer))
            if len(self._spare) > MAX_HEAD_BYTES or (count == 0 and time.monotonic() > deadline):
                raise Broken("a chunk has no length")
            self._spare += buffer[:count]
        line, _, self._spare = self._spare.partition(b"\n")
        return line

    def _fill(self, view: memoryview) -> int:
        """As much of ``view`` as comes within a tick; blocks are few, so Python is woken seldom."""
        if not isinstance(self._socket, ssl.SSLSocket):
            return self._receive_some(view, socket.MSG_WAITALL)
        until = time.monotonic() + TICK_SECONDS
        count = self._receive_some(view)
        while 0 < count < len(view) and time.monotonic() < until:  # TLS gives 16 KiB at a time
            try:
                more = self._receive_some(view[count:])
            except Broken:
                break  # the next call raises it again
            if more == 0:
                break
            count += more
        return count

    def _receive_some(self, view: memoryview, flags: int = 0) -> int:
        assert self._socket is not None, "received before a request"
        try:
            count = self._socket.recv_into(view, 0, flags) if flags else self._socket.recv_into(view)
        except (BlockingIOError, ssl.SSLWantReadError):
            if self._aborted:
                raise Broken("replaced") from None
            return 0
        except ssl.SSLEOFError as error:
            raise Broken("the server closed the connection") from error
        if count == 0:
            raise Broken("the server closed the connection")
        return count

    @property
    def reusable(self) -> bool:
        """Whether another request may follow on this connection."""
        return (
            self._socket is not None and self._keep and self.at_end and not self._spare and not self._aborted
        )

    def finish(self) -> None:
        """Keep the connection for the next request if the answer was read to its end, else drop it."""
        if not self.reusable:
            self.close()

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket = None

    def abort(self) -> None:
        """Make a thread that waits in ``receive`` fail at once."""
        self._aborted = True
        current = self._socket
        if current is not None:
            try:
                socket.socket.shutdown(current, socket.SHUT_RDWR)  # of a TLS socket: the plain one below
            except OSError:
                return


def _timeval(seconds: float) -> bytes:
    return struct.pack("@ll", int(seconds), int(seconds % 1 * 1_000_000))
