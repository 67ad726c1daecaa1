"""Who has signed in: one session for each sign-in, bound to the token or key that it was made from.

A session has two secrets. The cookie goes wherever the browser sends it, also to other ports of the same
host, which may be a stranger's: cookies know no ports. The page's key stays in the storage of this very
origin and comes as a header. Only both together are the visitor. The file holds hashes of them.
"""

from __future__ import annotations

import hmac
import json
import logging
import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

from bootstrap import files

log = logging.getLogger("kinokit.front")

NAME = "sessions.json"
LIFE_SECONDS = 30 * 24 * 3600
MOST = 1000  # the oldest go
SECURE_PREFIX = "__Host-"  # browsers take it by https alone, for this host alone


@dataclass(frozen=True)
class Session:
    page_key: str  # hash
    credential: str  # hash of the token or key that it lasts as long as
    created_at: float


@dataclass(frozen=True)
class SignedIn:
    """What a browser is given, for once."""

    cookie: str
    page_key: str


class Sessions:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._mark = secrets.token_hex(4)
        self._sessions: dict[str, Session] = {}
        self._read()

    def cookie_name(self, *, secure: bool) -> str:
        """Of this service: boxes share addresses, and cookies see no ports."""
        return f"{SECURE_PREFIX if secure else ''}kinokit_{self._mark}"

    def begin(self, credential: str) -> SignedIn:
        made = SignedIn(secrets.token_urlsafe(32), secrets.token_urlsafe(32))
        self._sessions[_hash(made.cookie)] = Session(_hash(made.page_key), credential, time.time())
        self._drop_old()
        self._write()
        return made

    def find(self, cookies: Mapping[str, str]) -> Session | None:
        """The session of these cookies, if it has not ended."""
        for secure in (True, False):
            found = self._sessions.get(_hash(cookies.get(self.cookie_name(secure=secure), "")))
            if found is not None and time.time() - found.created_at < LIFE_SECONDS:
                return found
        return None

    def end(self, cookies: Mapping[str, str]) -> None:
        for secure in (True, False):
            self._sessions.pop(_hash(cookies.get(self.cookie_name(secure=secure), "")), None)
        self._write()

    def _drop_old(self) -> None:
        newest = sorted(self._sessions.items(), key=lambda each: -each[1].created_at)[:MOST]
        now = time.time()
        self._sessions = {name: each for name, each in newest if now - each.created_at < LIFE_SECONDS}

    def _read(self) -> None:
        try:
            kept = json.loads(self._path.read_bytes())
            self._sessions = {name: Session(**each) for name, each in kept["sessions"].items()}
            self._mark = str(kept["mark"])
        except FileNotFoundError:
            self._write()
        except (OSError, ValueError, TypeError, LookupError, AttributeError):
            log.warning("%s cannot be read: everybody signs in again", self._path.name)

    def _write(self) -> None:
        kept = {"mark": self._mark, "sessions": {name: asdict(each) for name, each in self._sessions.items()}}
        try:
            files.replace_text(self._path, json.dumps(kept), mode=0o600)
        except OSError as error:  # a full disk keeps nobody out: it lasts as long as this process
            log.warning("sessions are not kept: %s", error.strerror)


def has_key(session: Session, page_key: str) -> bool:
    """Whether the request comes from the page that signed in."""
    return hmac.compare_digest(session.page_key, _hash(page_key))


def _hash(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()
