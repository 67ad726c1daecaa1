"""``keys.json`` in the data directory: the command and the front both write it, and see it at once."""

from __future__ import annotations

import fcntl
import hmac
import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from bootstrap import files
from bootstrap.errors import KitError
from services.keys import key
from services.keys.key import Key, NewKey

log = logging.getLogger("kinokit.front")

NAME = "keys.json"
USE_SECONDS = 60.0  # a use is noted no more often


class KeyFile:
    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / NAME
        self._stamp: tuple[int, int] | None = None
        self._keys: tuple[Key, ...] = ()

    def keys(self) -> tuple[Key, ...]:
        """All of them, also those that count no more. Raises ``KitError`` for a file that cannot be read."""
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return ()
        if (found.st_mtime_ns, found.st_ino) != self._stamp:
            self._keys = _parsed(self._path)
            self._stamp = (found.st_mtime_ns, found.st_ino)
        return self._keys

    def active(self) -> tuple[Key, ...]:
        """Those that open something now; none while the file cannot be read."""
        try:
            return tuple(each for each in self.keys() if each.is_active)
        except (KitError, OSError) as error:
            log.error("no named key is let in: %s", error)
            return ()

    def find(self, secret: str) -> Key | None:
        return self.find_hash(key.hash_of(secret))

    def find_hash(self, wanted: str) -> Key | None:
        """The active key with this hash. All are compared, each in constant time."""
        found = None
        for each in self.active():
            if hmac.compare_digest(each.hash, wanted):
                found = each
        return found

    def add(self, wanted: NewKey) -> tuple[Key, str]:
        """Keep a new key; returns its secret, for once. Raises ``KitError`` when the name is taken."""
        made, secret = key.make(wanted)

        def added(keys: tuple[Key, ...]) -> tuple[Key, ...]:
            if any(each.name == wanted.name and each.is_active for each in keys):
                raise KitError(
                    f"there is a key {wanted.name!r} already",
                    fix="choose another name, or revoke that one first",
                )
            return (*keys, made)

        self._change(added)
        return made, secret

    def revoke(self, wanted: str) -> Key:
        """Of this id, or the active one of this name. It stays in the list, for what it used."""
        ended: list[Key] = []

        def revoked(keys: tuple[Key, ...]) -> tuple[Key, ...]:
            ended.extend(
                each.model_copy(update={"revoked_at": time.time()})
                for each in keys
                if each.revoked_at is None and wanted in (each.id, each.name)
            )
            if not ended:
                raise KitError(f"there is no key {wanted!r} to revoke", fix="list them: kinokit key list")
            changed = {each.id: each for each in ended}
            return tuple(changed.get(each.id, each) for each in keys)

        self._change(revoked)
        return ended[-1]

    def note_use(self, used: Key) -> None:
        """Once a minute: the last use is for people who look for keys that nobody needs."""
        now = time.time()
        if used.last_used_at is not None and now - used.last_used_at < USE_SECONDS:
            return

        def noted(keys: tuple[Key, ...]) -> tuple[Key, ...]:
            return tuple(
                each.model_copy(update={"last_used_at": now}) if each.id == used.id else each for each in keys
            )

        try:
            self._change(noted, sync=False)
        except (OSError, KitError) as error:  # a full disk keeps no key out
            log.warning("the use of a key is not noted: %s", error)

    def _change(self, changed: Callable[[tuple[Key, ...]], tuple[Key, ...]], *, sync: bool = True) -> None:
        with _locked(self._path.with_name(f"{NAME}.lock")):
            self._stamp = None
            rows = [each.model_dump(mode="json") for each in changed(self.keys())]
            files.replace_text(self._path, json.dumps({"keys": rows}, indent=1), mode=0o600, sync=sync)


def _parsed(path: Path) -> tuple[Key, ...]:
    try:
        return tuple(Key.model_validate(row) for row in json.loads(path.read_bytes())["keys"])
    except (ValueError, TypeError, LookupError, ValidationError) as error:
        raise KitError(
            f"{path} cannot be read as a list of keys: {type(error).__name__}",
            fix="move it away and add the keys again; the owner's token still works",
        ) from None


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
