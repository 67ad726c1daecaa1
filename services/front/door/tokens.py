"""The owner's tokens in their file, one a line; each opens everything."""

from __future__ import annotations

import hmac
import os
import secrets
from pathlib import Path

from services.keys import key


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

    def knows_hash(self, wanted: str) -> bool:
        """Whether a session that was made from one of the tokens still has it."""
        hashes = [key.hash_of(token.decode("utf-8", "replace")).encode() for token in self.tokens()]
        return _any_equal(wanted.encode(), tuple(hashes))


def _any_equal(given: bytes, tokens: tuple[bytes, ...]) -> bool:
    # All are compared, each in constant time: the time shows nothing about them.
    return sum(hmac.compare_digest(given, token) for token in tokens) > 0


def _make(path: Path) -> None:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    with os.fdopen(handle, "w") as file:
        file.write(secrets.token_urlsafe(24) + "\n")
