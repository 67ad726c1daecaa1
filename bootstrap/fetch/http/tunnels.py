"""The way through a proxy: CONNECT over HTTP, or SOCKS 5."""

from __future__ import annotations

import select
import socket
import ssl
import threading
from contextlib import suppress

from bootstrap import __version__, certificates
from bootstrap.fetch.http import dial, socks
from bootstrap.fetch.http.head import parse
from bootstrap.fetch.http.origin import Origin
from bootstrap.fetch.http.proxies import Proxy
from bootstrap.fetch.http.proxy_failed import ProxyFailed, of_status

ANSWER_SECONDS = 30.0  # the proxy connects to the server meanwhile
MAX_HEAD_BYTES = 64 * 1024
BLOCK_BYTES = 256 * 1024


def open_(proxy: Proxy, origin: Origin, seconds: float) -> socket.socket:
    """A socket whose other end is ``origin``; of an ``http`` origin behind an HTTP proxy, the proxy itself.

    ``seconds`` is for reaching the proxy. ProxyFailed when it is the proxy that fails.
    """
    try:
        plain = dial.connect(proxy.host, proxy.port, seconds)
    except OSError as error:
        raise ProxyFailed(_unreached(proxy, error)) from error
    made = plain
    try:
        if proxy.scheme == "https":
            made = _tls(proxy, plain)
        made.settimeout(ANSWER_SECONDS)
        if proxy.is_socks:
            socks.handshake(made, proxy, origin)
        elif origin.scheme == "https":
            _connect(made, proxy, origin)
            made = _unwrapped(made) if isinstance(made, ssl.SSLSocket) else made
    except (ProxyFailed, socket.gaierror):
        made.close()
        raise
    except OSError as error:
        made.close()
        is_silent = isinstance(error, TimeoutError)
        said = "does not answer" if is_silent else f"ends the connection: {error.strerror or error}"
        raise ProxyFailed(f"{proxy} {said}") from error
    return made


def _unreached(proxy: Proxy, error: OSError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return f"{proxy} refuses connections"
    if isinstance(error, socket.gaierror):
        return f"the name of {proxy} cannot be resolved"
    return f"{proxy} does not answer"


def _tls(proxy: Proxy, plain: socket.socket) -> socket.socket:
    try:
        return certificates.context().wrap_socket(plain, server_hostname=proxy.host)
    except ssl.SSLCertVerificationError as error:
        raise ProxyFailed(
            f"the certificate of {proxy} is not trusted: {error.verify_message}",
            fix="set SSL_CERT_FILE to the certificate of its authority",
        ) from error


def _connect(made: socket.socket, proxy: Proxy, origin: Origin) -> None:
    host = f"[{origin.host}]" if ":" in origin.host else origin.host
    lines = [f"CONNECT {host}:{origin.port} HTTP/1.1", f"Host: {host}:{origin.port}"]
    lines += [f"User-Agent: kinokit/{__version__}"]
    lines += [f"{name}: {value}" for name, value in proxy.authorization.items()]
    made.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
    received = b""
    while b"\r\n\r\n" not in received:
        block = made.recv(4096)
        if not block or len(received) > MAX_HEAD_BYTES:
            raise ProxyFailed(f"{proxy} answers CONNECT with something that is not HTTP")
        received += block
    try:
        status = parse(received.partition(b"\r\n\r\n")[0]).status
    except ConnectionError as error:
        raise ProxyFailed(f"{proxy} answers CONNECT with something that is not HTTP") from error
    if status // 100 != 2:
        raise of_status(status, proxy, origin)


def _unwrapped(outer: ssl.SSLSocket) -> socket.socket:
    """A plain socket for TLS within TLS, which Python's ssl cannot put on top of each other."""
    mine, theirs = socket.socketpair()
    mine.settimeout(ANSWER_SECONDS)
    threading.Thread(target=_relay, args=(outer, theirs), name="tls proxy", daemon=True).start()
    return mine


def _relay(outer: ssl.SSLSocket, inner: socket.socket) -> None:
    with outer, inner, suppress(OSError):
        while True:
            ready = [outer] if outer.pending() else select.select([outer, inner], [], [])[0]
            if inner in ready:
                outer.settimeout(ANSWER_SECONDS)
                block = inner.recv(BLOCK_BYTES)
                if not block:
                    return
                outer.sendall(block)
            if outer in ready:
                outer.settimeout(0.0)
                with suppress(ssl.SSLWantReadError):
                    block = outer.recv(BLOCK_BYTES)
                    if not block:
                        return
                    inner.sendall(block)
