"""Proxies as networks have them: HTTP with CONNECT, and SOCKS 5. They know names that nobody else knows."""

from __future__ import annotations

import base64
import select
import socket
import socketserver
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from tests.support.answering import Asked, serving


@dataclass
class Proxied:
    """What passed. ``names`` are hosts that this proxy knows; ``login`` is USER:PASSWORD where it asks."""

    names: Mapping[str, str] = field(default_factory=dict)
    login: str | None = None
    seen: list[tuple[str, str]] = field(default_factory=list)  # method and host:port
    address: str = ""

    @property
    def place(self) -> str:
        return self.address.rpartition("//")[2]

    def connect(self, method: str, host: str, port: int) -> socket.socket:
        self.seen.append((method, f"{host}:{port}"))
        return socket.create_connection((self.names.get(host, host), port), 30)


@contextmanager
def http(proxied: Proxied, *, tls: tuple[Path, Path] | None = None) -> Iterator[Proxied]:
    """An HTTP proxy until the block ends."""

    def answer(asked: Asked) -> None:
        asked.close_connection = True
        login = asked.headers.get("Proxy-Authorization", "").removeprefix("Basic ")
        if proxied.login is not None and base64.b64decode(login).decode() != proxied.login:
            asked.reply(407, Proxy_Authenticate='Basic realm="proxy"')
            return
        to = urlsplit(asked.path if asked.command != "CONNECT" else f"//{asked.path}")
        try:
            there = proxied.connect(asked.command, to.hostname or "", to.port or 80)
        except OSError:
            asked.reply(502)
            return
        with there:
            if asked.command == "CONNECT":
                asked.send_response(200)
                asked.end_headers()
            else:
                there.sendall(_passed_on(asked, f"{to.path}?{to.query}" if to.query else to.path))
            pump(asked.connection, there)

    with serving(answer, tls=tls) as proxied.address:
        yield proxied


def _passed_on(asked: Asked, target: str) -> bytes:
    kept = [(n, v) for n, v in asked.headers.items() if not n.lower().startswith(("proxy-", "connection"))]
    lines = [f"{asked.command} {target} HTTP/1.1", *(f"{n}: {v}" for n, v in kept), "Connection: close"]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


@contextmanager
def socks(proxied: Proxied) -> Iterator[Proxied]:
    """A SOCKS 5 proxy until the block ends."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with suppress(OSError):
                _serve_socks(self.request, proxied)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False
        request_queue_size = 128

    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        proxied.address = f"socks5h://127.0.0.1:{server.server_address[1]}"
        yield proxied
        server.shutdown()


def _serve_socks(client: socket.socket, proxied: Proxied) -> None:
    file = client.makefile("rb")
    methods = file.read(file.read(2)[1])
    wanted = 2 if proxied.login is not None else 0
    client.sendall(bytes([5, wanted if wanted in methods else 255]))
    if wanted not in methods:
        return
    if wanted:
        user = file.read(file.read(2)[1])
        password = file.read(file.read(1)[0])
        is_right = f"{user.decode()}:{password.decode()}" == proxied.login
        client.sendall(bytes([1, 0 if is_right else 1]))
        if not is_right:
            return
    kind = file.read(4)[3]
    host = _host(kind, file.read(file.read(1)[0] if kind == 3 else {1: 4, 4: 16}[kind]))
    port = int.from_bytes(file.read(2), "big")
    try:
        there = proxied.connect("SOCKS", host, port)
    except OSError:
        client.sendall(bytes([5, 4, 0, 1, 0, 0, 0, 0, 0, 0]))
        return
    client.sendall(bytes([5, 0, 0, 1, 127, 0, 0, 1, 0, 80]))
    with there:
        pump(client, there)


def _host(kind: int, raw: bytes) -> str:
    if kind == 3:
        return raw.decode()
    return socket.inet_ntop(socket.AF_INET if kind == 1 else socket.AF_INET6, raw)


def pump(one: socket.socket, other: socket.socket) -> None:
    """What either says goes to the other, until one of them ends."""
    to = {one: other, other: one}
    with suppress(OSError):
        while True:
            ready: list[socket.socket] = select.select([one, other], [], [])[0]
            for side in ready:
                block = side.recv(256 * 1024)
                if not block:
                    return
                to[side].sendall(block)
