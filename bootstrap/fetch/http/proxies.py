"""Which proxy an address is reached through, from the variables that other tools read as well."""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from bootstrap.errors import KitError
from bootstrap.fetch.http.origin import Origin

PORTS = {"http": 3128, "https": 443, "socks5": 1080, "socks5h": 1080}
KINDS = "http://, https://, socks5:// or socks5h://"


@dataclass(frozen=True)
class Proxy:
    """One proxy; ``str`` has no password. ``variable`` is where it was set."""

    scheme: str
    host: str
    port: int
    variable: str
    user: str = ""
    password: str = field(default="", repr=False)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"the proxy {host}:{self.port} ({self.variable})"

    @property
    def is_socks(self) -> bool:
        return self.scheme.startswith("socks")

    @property
    def authorization(self) -> dict[str, str]:
        """The header that shows the user to an HTTP proxy; empty without a user."""
        if not self.user:
            return {}
        pair = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        return {"Proxy-Authorization": f"Basic {pair}"}


def of(origin: Origin, env: Mapping[str, str]) -> Proxy | None:
    """The proxy to this server; None to connect directly. KitError for a value that names no proxy."""
    if _is_excepted(origin, env.get("no_proxy") or env.get("NO_PROXY") or ""):
        return None
    for name in (f"{origin.scheme}_proxy", "all_proxy"):
        for variable in (name, name.upper()):
            value = env.get(variable, "").strip()
            if value:
                return _read(value, variable)
    return None


def _read(value: str, variable: str) -> Proxy:
    try:
        parts = urlsplit(value if "://" in value else f"http://{value}")
        scheme = "socks5" if parts.scheme == "socks" else parts.scheme
        host, port = parts.hostname, parts.port or PORTS.get(scheme, 0)
    except ValueError:
        host, scheme, port = None, "", 0
    if not host or scheme not in PORTS:
        raise KitError(
            f"{variable} names no proxy that can be used",
            fix=f"write it as http://host:port; the kit knows proxies at {KINDS}",
        )
    return Proxy(scheme, host, port, variable, unquote(parts.username or ""), unquote(parts.password or ""))


def _is_excepted(origin: Origin, exceptions: str) -> bool:
    """Whether NO_PROXY names it: ``*``, a host and all below it, an address, a network, each with a port."""
    return any(_matches(origin, entry.lower()) for entry in re.split(r"[,\s]+", exceptions) if entry)


def _matches(origin: Origin, entry: str) -> bool:
    if entry == "*":
        return True
    host = origin.host.rstrip(".")
    address = _address(host)
    if address is not None and "/" in entry:
        try:
            return address in ipaddress.ip_network(entry, strict=False)
        except ValueError:
            return False
    name, port = _split_port(entry)
    if port not in (None, origin.port):
        return False
    if address is not None:
        return address == _address(name)
    name = name.removeprefix("*").strip(".")
    return bool(name) and (host == name or host.endswith(f".{name}"))


def _split_port(entry: str) -> tuple[str, int | None]:
    """``host:8080``, ``[::1]:8080``, or without a port; an IPv6 address alone has only colons of its own."""
    match = re.fullmatch(r"\[?([^\[\]]*?)\]?(?::(\d+))?", entry)
    if match is None or _address(entry) is not None:
        return entry, None
    return match[1], int(match[2]) if match[2] else None


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        found = ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found
