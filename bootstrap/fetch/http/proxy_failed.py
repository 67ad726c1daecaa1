"""The failures of a proxy, in words that name it."""

from __future__ import annotations

from bootstrap.fetch.http.head import Head
from bootstrap.fetch.http.origin import Origin
from bootstrap.fetch.http.proxies import Proxy

SIGNS = ("x-squid-error", "proxy-status", "proxy-authenticate")  # headers that servers do not send


class ProxyFailed(ConnectionError):
    """``fix`` is None where another attempt may succeed."""

    def __init__(self, problem: str, *, fix: str | None = None) -> None:
        super().__init__(problem)
        self.problem = problem
        self.fix = fix


def of_status(status: int, proxy: Proxy, origin: Origin) -> ProxyFailed:
    """The proxy answers in place of the server."""
    if status == 407:
        problem = f"{proxy} refuses its user and password" if proxy.user else f"{proxy} asks for a user"
        return ProxyFailed(
            f"{problem} (status 407)", fix=f"write {proxy.variable} as http://USER:PASSWORD@host:port"
        )
    if status in (401, 403, 405):
        return ProxyFailed(
            f"{proxy} does not let this box reach {origin} (status {status})",
            fix=f"let it allow {origin}, name another proxy, or take {origin} out of its reach with NO_PROXY",
        )
    return ProxyFailed(f"{proxy} does not reach {origin} (status {status})")


def in_answer(head: Head, proxy: Proxy, origin: Origin) -> ProxyFailed | None:
    """Of a request that an HTTP proxy passes on as it is, whose failures look like the server's own."""
    is_its = head.status in (407, 502, 504) or (
        head.status >= 400 and any(sign in head.headers for sign in SIGNS)
    )
    return of_status(head.status, proxy, origin) if is_its else None
