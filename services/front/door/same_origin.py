"""By which names this service is addressed, and whether a page of another place sends a request.

Browsers send ``Origin`` with everything that changes something, also over plain http, where they send no
``Sec-Fetch-Site``. Another port of the same host is another place: a rented box has its neighbours there.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import Scope

DEFAULT_PORTS = {"http": 80, "https": 443}
READS = ("GET", "HEAD", "OPTIONS")


class Addresses:
    def __init__(
        self, names: Collection[str] = (), *, public_url: Callable[[], str] = str, only_local: bool = False
    ) -> None:
        """``names``: hosts, with or without a port, that people use beside what a request itself says.

        ``public_url``: as far as it is known; ``only_local``: the port is bound to this machine alone.
        """
        self._names = frozenset(name.strip().lower() for name in names)
        self._public_url = public_url
        self._only_local = only_local

    def knows_host(self, scope: Scope) -> bool:
        """False where a name of somebody else leads to this machine (DNS rebinding)."""
        host = Headers(scope=scope).get("host", "").lower()
        if not self._only_local or host in self._names:
            return True
        name = _name(host)
        return _is_local(name) or name in self._names

    def is_from_elsewhere(self, scope: Scope) -> bool:
        """Whether a page of another origin makes its visitor's browser change something."""
        if scope["type"] == "http" and scope["method"] in READS:
            return False
        headers = Headers(scope=scope)
        if headers.get("sec-fetch-site") in ("cross-site", "same-site"):
            return True
        origin = headers.get("origin")
        return origin is not None and not self._is_own(origin, scope, headers)

    def _is_own(self, origin: str, scope: Scope, headers: Headers) -> bool:
        sender = urlsplit(origin.lower())  # "null" has no host: a sandbox, or a page that hides where it is
        if sender.scheme not in DEFAULT_PORTS or not sender.netloc:
            return False
        place = _place(sender.netloc, sender.scheme)
        if sender.netloc in self._names or _name(sender.netloc) in self._names:
            return True
        public = urlsplit(self._public_url().lower())
        if (public.scheme, _place(public.netloc, public.scheme)) == (sender.scheme, place):
            return True
        if sender.scheme != _scheme(scope, headers, sender.scheme):
            return False
        hosts = (headers.get("host", ""), headers.get("x-forwarded-host", "").partition(",")[0])
        return place in [_place(host.strip().lower(), sender.scheme) for host in hosts if host]


def _scheme(scope: Scope, headers: Headers, unknown: str) -> str:
    """As the browser sees it; a proxy that ends TLS may not tell."""
    told = headers.get("x-forwarded-proto", "").partition(",")[0].strip().lower()
    if told:
        return told
    return "https" if scope["scheme"] in ("https", "wss") else unknown


def _place(host: str, scheme: str) -> str:
    """Host and port, without the port that its scheme has anyway."""
    return host.removesuffix(f":{DEFAULT_PORTS.get(scheme)}")


def _name(host: str) -> str:
    """Without the port; an IPv6 address without its brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _is_local(name: str) -> bool:
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
