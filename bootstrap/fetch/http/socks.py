"""SOCKS 5 as a client needs it: no user or a password, CONNECT by name or by address (RFC 1928 and 1929)."""

from __future__ import annotations

import ipaddress
import socket

from bootstrap.fetch.http.origin import Origin
from bootstrap.fetch.http.proxies import Proxy
from bootstrap.fetch.http.proxy_failed import ProxyFailed

NO_USER, BY_PASSWORD = 0, 2
REASONS = {
    2: "its rules do not allow it",
    3: "the network cannot be reached",
    4: "the host cannot be reached",
    5: "the host refuses connections",
    6: "the way is too long",
    8: "it does not take this kind of address",
}


def handshake(made: socket.socket, proxy: Proxy, origin: Origin) -> None:
    """From the open connection to the proxy to one to the server. ProxyFailed, or OSError of the socket."""
    methods = bytes([NO_USER, BY_PASSWORD] if proxy.user else [NO_USER])
    made.sendall(bytes([5, len(methods)]) + methods)
    version, method = _read(made, 2, proxy)
    if version != 5:
        raise ProxyFailed(f"{proxy} does not speak SOCKS 5", fix=f"correct {proxy.variable}")
    if method == BY_PASSWORD and proxy.user:
        _sign_in(made, proxy)
    elif method != NO_USER:
        problem = "refuses its user" if proxy.user else "asks for a user"
        raise ProxyFailed(
            f"{proxy} {problem}", fix=f"write {proxy.variable} as {proxy.scheme}://USER:PASSWORD@host:port"
        )
    made.sendall(bytes([5, 1, 0]) + _place(proxy, origin) + origin.port.to_bytes(2, "big"))
    _, reply, _, kind = _read(made, 4, proxy)
    if reply:
        reason = REASONS.get(reply, f"reply {reply}")
        fix = f"let the proxy allow {origin}, or name another" if reply == 2 else None
        raise ProxyFailed(f"{proxy} does not reach {origin}: {reason}", fix=fix)
    length = {1: 4, 4: 16}.get(kind) or _read(made, 1, proxy)[0]
    _read(made, length + 2, proxy)


def _sign_in(made: socket.socket, proxy: Proxy) -> None:
    user, password = proxy.user.encode()[:255], proxy.password.encode()[:255]
    made.sendall(bytes([1, len(user)]) + user + bytes([len(password)]) + password)
    if _read(made, 2, proxy)[1]:
        raise ProxyFailed(
            f"{proxy} refuses its user and password", fix=f"correct the password in {proxy.variable}"
        )


def _place(proxy: Proxy, origin: Origin) -> bytes:
    """``socks5h`` hands the name on; ``socks5`` resolves it here, as other tools do."""
    host = origin.host
    if proxy.scheme == "socks5":
        host = str(socket.getaddrinfo(host, origin.port, type=socket.SOCK_STREAM)[0][4][0])
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        name = host.encode("idna")
        return bytes([3, len(name)]) + name
    return bytes([1 if address.version == 4 else 4]) + address.packed


def _read(made: socket.socket, count: int, proxy: Proxy) -> bytes:
    received = b""
    while len(received) < count:
        block = made.recv(count - len(received))
        if not block:
            raise ProxyFailed(f"{proxy} ends the connection before it is made")
        received += block
    return received
