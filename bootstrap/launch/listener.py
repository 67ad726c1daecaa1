"""The port: bound before anything else, so that whoever comes early waits instead of being refused."""

from __future__ import annotations

import errno
import ipaddress
import os
import signal
import socket
import time
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any, NamedTuple

from bootstrap.errors import KitError

BACKLOG = 2048
LETS_GO_SECONDS = 5.0  # the start page's server, of a port that it holds


class Bound(NamedTuple):
    """When the agent's own code began, and when the port was bound; seconds since the epoch."""

    started_at: float
    at: float


ANY = ("0.0.0.0", "::", "")  # noqa: S104 - recognised here, chosen in the settings


def listen(host: str, port: int) -> socket.socket:
    """Bind and listen. KitError names who holds a port that is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise _explained(error, host, port) from error


def take_over(host: str, port: int, env: MutableMapping[str, str]) -> socket.socket:
    """The socket that the start page listened at (scripts/start.sh), else a new one as ``listen`` makes it.

    Whoever has connected waits in the socket's queue meanwhile, so nobody is refused. The page's server is
    told that it may end; both variables are taken out of ``env``: they mean this process alone.
    """
    fd, page = (env.pop(name, "") for name in ("KINOKIT_LISTEN_FD", "KINOKIT_PAGE_PID"))
    if page != str(os.getppid()):
        return listen(host, port)
    taken = _inherited(int(fd), host, port) if fd.isdecimal() else None
    with suppress(OSError):
        os.kill(int(page), signal.SIGUSR1)
    if taken is not None:
        return taken
    until = time.monotonic() + (LETS_GO_SECONDS if fd else 0)
    while True:  # the page was at another address of the same port: it ends now
        try:
            return listen(host, port)
        except KitError:
            if time.monotonic() > until:
                raise
            time.sleep(0.02)


def _inherited(fd: int, host: str, port: int) -> socket.socket | None:
    """The socket behind the number, when it listens exactly there; else it is closed."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        found = socket.socket(fileno=fd)
    except OSError:
        return None
    with suppress(OSError):
        wanted = socket.getaddrinfo(host or "0.0.0.0", port, family, socket.SOCK_STREAM)[0][4]  # noqa: S104
        if found.family == family and found.getsockname()[:2] == wanted[:2]:
            found.set_inheritable(False)
            found.listen(BACKLOG)
            return found
    found.close()
    return None


def local_url(host: str, port: int) -> str:
    """How this machine itself reaches the port."""
    if host in ANY or host == "localhost":
        host = "127.0.0.1" if ":" not in host else "::1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def is_loopback(host: str) -> bool:
    """Only this machine reaches it. A name may stand for any address, so no name but localhost counts."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def asks_for_token(auth: str, host: str) -> bool:
    """``auth``: on, off, or auto, which is on unless only this machine reaches ``host``."""
    return auth == "on" or (auth == "auto" and not is_loopback(host))


def _explained(error: OSError, host: str, port: int) -> KitError:
    if error.errno == errno.EADDRINUSE:
        holder = _holder(port)
        return KitError(
            f"port {port} is in use{f' by {holder}' if holder else ''}",
            fix="end that program, or choose another port: --port 8001 (make up PORT=8001)",
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return KitError(f"port {port} needs more rights than this user has", fix="choose a port above 1023")
    if error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
        return KitError(
            f"{host} is not an address of this machine",
            fix="use --host 0.0.0.0 for all, 127.0.0.1 for this one",
        )
    return KitError(
        f"port {port} at {host} cannot be used: {error.strerror or error}", fix="choose another one"
    )


def _holder(port: int) -> str | None:
    """Who listens there, as far as this user may see."""
    import psutil  # only for this message; the port is bound before anything heavy is imported

    try:
        for connection in psutil.net_connections("tcp"):
            address: Any = connection.laddr  # host and port, or nothing at all
            if connection.status == psutil.CONN_LISTEN and address and address[1] == port and connection.pid:
                return f"{psutil.Process(connection.pid).name()} (process {connection.pid})"
    except psutil.Error:
        return None
    return None
