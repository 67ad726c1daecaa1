"""The server of an address, and what to request there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Origin:
    """The server of an address; a token belongs to one."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> Origin:
        parts = urlsplit(url)
        scheme = parts.scheme.lower()
        return cls(scheme, (parts.hostname or "").lower(), parts.port or (443 if scheme == "https" else 80))

    def may_have_token_of(self, owner: Origin) -> bool:
        """Whether it is the server that a token belongs to; the step from http to https stays on it."""
        upgraded = Origin("https", owner.host, 443)
        return self == owner or (self == upgraded and owner == Origin("http", owner.host, 80))

    def token_in(self, tokens: Mapping[str, str]) -> str | None:
        """This server's own, by ``host:port`` or by its host."""
        return tokens.get(f"{self.host}:{self.port}") or tokens.get(self.host)

    @property
    def address(self) -> str:
        """Without a path, for people."""
        return f"{self.scheme}://{self.host_header}"

    def __str__(self) -> str:
        return self.host if self.port in (80, 443) else f"{self.host}:{self.port}"

    @property
    def host_header(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.scheme == "https" else 80) else f"{host}:{self.port}"


def target_of(url: str) -> str:
    """The target in the request line."""
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
