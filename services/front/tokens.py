"""The tokens that open the door, in their files, and the cookies that stand for them."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path


class TokenFile:
    """The tokens that a file holds, one a line; made with one new token if the file is not there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._tokens: tuple[bytes, ...] = ()
        _make(path)

    def tokens(self) -> tuple[bytes, ...]:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return ()  # nobody comes in until it is back
        if (found.st_mtime_ns, found.st_ino) != self._stamp:
            self._stamp = (found.st_mtime_ns, found.st_ino)
            self._tokens = tuple(
                line.strip() for line in self._path.read_bytes().splitlines() if line.strip()
            )
        return self._tokens

    def knows(self, given: str) -> bool:
        return _any_equal(given.encode(), self.tokens())

    def cookie(self) -> tuple[str, str]:
        """Name and value. Rented boxes share addresses and cookies see no ports: each has its own name."""
        first = self.tokens()[0]
        return f"kinokit_{_mark(first, b'name')[:8]}", _mark(first, b"value")

    def knows_cookie(self, cookies: dict[str, str]) -> bool:
        if not self.tokens():
            return False
        name, value = self.cookie()
        return hmac.compare_digest(cookies.get(name, "").encode(), value.encode())


def _any_equal(given: bytes, tokens: tuple[bytes, ...]) -> bool:
    # All are compared, each in constant time: the time shows nothing about them.
    return sum(hmac.compare_digest(given, token) for token in tokens) > 0


def _mark(token: bytes, use: bytes) -> str:
    return hashlib.sha256(b"kinokit cookie " + use + b" " + token).hexdigest()


def _make(path: Path) -> None:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    with os.fdopen(handle, "w") as file:
        file.write(secrets.token_urlsafe(24) + "\n")
