"""Who a secret stands for: the owner by a token, somebody else by a named key, a box by a worker token."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from services.front.door.caller import OWNER, Caller, Limits
from services.front.door.same_origin import Addresses
from services.front.door.sessions import NAME, Sessions
from services.front.door.tokens import TokenFile
from services.front.settings import Settings
from services.keys.key import BOX_MARK, Key
from services.keys.key_file import KeyFile


@dataclass(frozen=True)
class Box:
    """Whose workers they are. ``name`` is None for those that have this box's own worker token."""

    name: str | None
    others: frozenset[str]  # boxes that have a token of their own

    def owns(self, worker: str) -> bool:
        """Whether a worker of this name is one of this box's."""
        box, mark, _ = worker.partition(BOX_MARK)
        of = box if mark and box in self.others | {self.name} else None
        return of == self.name


class Door:
    """``asks`` is False where only this machine reaches the port: everybody is the owner."""

    def __init__(self, settings: Settings, keys: KeyFile, *, public_url: Callable[[], str] = str) -> None:
        self.asks = settings.auth
        self.keys = keys
        self.addresses = Addresses(
            settings.allowed_hosts,
            public_url=public_url,
            only_local=settings.only_local and not settings.auth,
        )
        self._workers = TokenFile(settings.worker_token_file)
        if settings.auth:
            self._people = TokenFile(settings.token_file)
            self.sessions = Sessions(settings.data_dir / NAME)

    def caller(self, secret: str) -> Caller | None:
        if self._people.knows(secret):
            return OWNER
        found = self.keys.find(secret)
        return None if found is None else self._by_key(found)

    def caller_of_session(self, credential: str) -> Caller | None:
        """None once the token or key that it was made from is gone."""
        if self._people.knows_hash(credential):
            return OWNER
        found = self.keys.find_hash(credential)
        return None if found is None else self._by_key(found)

    def box(self, secret: str) -> Box | None:
        keys = [each for each in self.keys.active() if each.is_workers]
        others = frozenset(each.name for each in keys)
        if self._workers.knows(secret):
            return Box(None, others)
        found = self.keys.find(secret)
        return Box(found.name, others - {found.name}) if found is not None and found.is_workers else None

    def _by_key(self, found: Key) -> Caller | None:
        if found.is_workers:
            return None
        self.keys.note_use(found)
        limits = Limits(
            found.requests_per_minute, found.clips_per_day, found.gpu_seconds_per_day, found.queue_share
        )
        return Caller(found.name, found.id, frozenset(found.scopes), limits)
