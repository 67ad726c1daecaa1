"""The door for addresses that a request names: they lead to public hosts, or to private ones that are named.

A name is resolved once, its addresses are checked, and the connection goes to one that was checked: a name
that means another machine a moment later leads nowhere else. Each redirect passes the same door.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
from collections.abc import Collection

import httpx

# Public by their numbers, and each the way to the services of a cloud's own host.
OF_CLOUDS = frozenset({"168.63.129.16"})
NAT64 = ipaddress.ip_network("64:ff9b::/96")  # an IPv4 address lies in its last 32 bits

# It writes a line with the whole address of each request, and an address may hold a secret.
logging.getLogger("httpx").setLevel(logging.WARNING)


class NotPublic(Exception):
    """The host is not public, or nobody knows its name. The text names the host and nothing else."""


def is_public(address: str) -> bool:
    """Whether this IP address belongs to the internet; an IPv4 address inside of an IPv6 one counts."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour or (found.teredo and found.teredo[1])
        if found in NAT64:
            inner = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        if inner:
            return is_public(str(inner))
    return found.is_global and not found.is_multicast and str(found) not in OF_CLOUDS


def is_surely_private(host: str, private_hosts: Collection[str] = ()) -> bool:
    """What can be said of a host without asking anybody for its address: enough to refuse a request early."""
    name = host.strip("[]").rstrip(".").lower()
    if name in private_hosts:
        return False
    try:
        return not is_public(name)
    except ValueError:
        return name == "localhost" or name.endswith((".localhost", ".local", ".internal"))


async def addresses(host: str, port: int, private_hosts: Collection[str] = ()) -> list[str]:
    """The addresses of the host, all of them checked. ``private_hosts``: names in small letters.

    Raises:
        NotPublic: one of them is not public, or the name has none.
    """
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise NotPublic(f"{host} has no address") from None
    there = list(dict.fromkeys(str(each[4][0]) for each in found))
    if host.rstrip(".").lower() not in private_hosts and not all(map(is_public, there)):
        raise NotPublic(f"{host} is no public host")
    return there


class PublicOnly(httpx.AsyncBaseTransport):
    """An httpx transport behind the door. A connection is used once: hosts of one address share none."""

    def __init__(self, private_hosts: Collection[str] = ()) -> None:
        self._private_hosts = frozenset(name.lower() for name in private_hosts)
        self._inner = httpx.AsyncHTTPTransport(limits=httpx.Limits(max_keepalive_connections=0))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Raises ``NotPublic``, or what httpx raises."""
        url = request.url
        port = url.port or (443 if url.scheme == "https" else 80)
        there = await addresses(url.host, port, self._private_hosts)
        for address in there[:-1]:
            try:
                return await self._inner.handle_async_request(_sent_to(request, address))
            except httpx.ConnectError:
                continue  # nothing was sent yet
        return await self._inner.handle_async_request(_sent_to(request, there[-1]))

    async def aclose(self) -> None:
        await self._inner.aclose()


def _sent_to(request: httpx.Request, address: str) -> httpx.Request:
    """The same request to this address. Its Host header, and the name that TLS checks, stay the host's."""
    return httpx.Request(
        request.method,
        request.url.copy_with(host=address),
        headers=request.headers,
        stream=request.stream,
        extensions={**request.extensions, "sni_hostname": request.url.host},
    )
