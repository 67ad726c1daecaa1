"""A port that speaks TLS to the world and plain HTTP to this machine.

The first byte of a connection tells which it is. The kit's own processes and health checks come from this
machine, where nobody listens in; a page that is asked for without TLS from elsewhere is sent to its https
address, and everything else is told what is wrong.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import re
import socket
import ssl
from collections.abc import Callable

from bootstrap.errors import KitError
from services.front.port import connections
from services.front.settings import Settings

HELLO = b"\x16"  # what TLS begins with; a request begins with a letter
HANDSHAKE_SECONDS = 10.0
NO_FILES_SECONDS = 0.1  # until some are closed
MOST_ON_THE_STEP = 1024  # connections that have sent nothing yet; the oldest goes
HEAD_BYTES = 16 * 1024
REQUEST = re.compile(rb"(GET|HEAD) (/[!-~]*) HTTP/1\.[01]\r\n")
HOST = re.compile(rb"\r\nhost:[ \t]*([A-Za-z0-9.\-]+|\[[0-9a-fA-F:]+\])(:\d+)?[ \t]*\r\n", re.IGNORECASE)
WRONG = {
    "message": "this port speaks https",
    "type": "invalid_request_error",
    "param": None,
    "code": "tls_required",
    "fix": "write https:// instead of http://",
}


def of(settings: Settings) -> ssl.SSLContext | None:
    """None where the port speaks plain HTTP. Raises KitError where the files are none for this."""
    certificate, key = settings.tls_certificate, settings.tls_key
    if certificate is None or key is None:
        return None
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.set_alpn_protocols(["http/1.1"])
    try:
        made.load_cert_chain(certificate, key, password="")
    except OSError as error:  # of ssl as well
        fix = "look at tls_certificate and tls_key"
        raise KitError(f"{certificate} is no certificate with its key: {error.strerror}", fix=fix) from error
    return made


class TlsPort:
    """Accepts until it is closed. ``protocol`` makes what serves a connection."""

    def __init__(
        self,
        listening: socket.socket,
        secure: ssl.SSLContext,
        protocol: Callable[[], asyncio.Protocol],
        *,
        most: int = MOST_ON_THE_STEP,
    ) -> None:
        listening.setblocking(False)
        self._listening = listening
        self._secure = secure
        self._protocol = protocol
        self._most = most
        self._on_the_step: dict[asyncio.Task[None], None] = {}  # the oldest first
        self._accepting = asyncio.create_task(self._accept())

    def close(self) -> None:
        for task in (self._accepting, *self._on_the_step):
            task.cancel()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                found, _ = await loop.sock_accept(self._listening)
            except OSError:  # as many files as may be are open
                await asyncio.sleep(NO_FILES_SECONDS)
                continue
            task = loop.create_task(self._let_in(found))
            self._on_the_step[task] = None
            task.add_done_callback(lambda done: self._on_the_step.pop(done, None))
            if len(self._on_the_step) > self._most:
                next(iter(self._on_the_step)).cancel()

    async def _let_in(self, found: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(connections.HEAD_SECONDS):
                first = await _first_byte(found)
        except BaseException as error:
            found.close()
            if isinstance(error, OSError):  # it left, or it said nothing
                return
            raise
        try:
            if first == HELLO:
                seconds = {"ssl_handshake_timeout": HANDSHAKE_SECONDS}
                await loop.connect_accepted_socket(self._protocol, found, ssl=self._secure, **seconds)
            else:
                is_ours = first and _is_from_this_machine(found)
                await loop.connect_accepted_socket(self._protocol if is_ours else NoTls, found)
        except OSError:  # no TLS that we speak; the socket is closed already
            pass


async def _first_byte(found: socket.socket) -> bytes:
    """It stays to be read; empty when the other side has left."""
    loop = asyncio.get_running_loop()
    came = asyncio.Event()
    loop.add_reader(found, came.set)
    try:
        await came.wait()
    finally:
        loop.remove_reader(found)
    return found.recv(1, socket.MSG_PEEK)


def _is_from_this_machine(found: socket.socket) -> bool:
    peer, own = found.getpeername()[0], found.getsockname()[0]
    return bool(peer == own or ipaddress.ip_address(peer.partition("%")[0]).is_loopback)


class NoTls(asyncio.Protocol):
    """Answers one request that came without TLS, and closes."""

    def __init__(self) -> None:
        self._head = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        loop = asyncio.get_running_loop()
        self._limit = loop.call_later(connections.HEAD_SECONDS, transport.abort)

    def data_received(self, data: bytes) -> None:
        self._head += data
        if not self._transport.is_closing() and (b"\r\n\r\n" in self._head or len(self._head) > HEAD_BYTES):
            self._transport.write(answer(self._head))
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._limit.cancel()


def answer(head: bytes) -> bytes:
    """To a request without TLS, whole."""
    asked, host = REQUEST.match(head), HOST.search(head)
    if asked is not None and host is not None:
        place = b"https://" + host[1] + (host[2] or b"") + asked[2]
        return (
            b"HTTP/1.1 308 Permanent Redirect\r\nLocation: " + place + b"\r\nCache-Control: no-store\r\n"
            b"Content-Length: 0\r\nConnection: close\r\n\r\n"
        )
    body = json.dumps({"error": WRONG}).encode()
    return (
        b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
        b"Connection: close\r\n\r\n%s" % (len(body), body)
    )
