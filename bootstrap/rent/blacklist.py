"""Hosts that failed: nobody rents from them again for a month."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from bootstrap.rent.state_file import Rows, StateFile

NAME = "blacklist.json"
DAYS = 30


@dataclass(frozen=True)
class Listed:
    """A host and what it did. Times are seconds since 1970."""

    platform: str
    host: str
    reason: str
    since: float

    @property
    def until(self) -> float:
        return self.since + DAYS * 86400


class Blacklist:
    """The file. A host that fails again is listed anew."""

    def __init__(self, folder: Path, warn: Callable[[str], None] = lambda _: None) -> None:
        self._file = StateFile(folder / NAME, warn)

    def hosts(self, now: float) -> list[Listed]:
        """Those that are listed now."""
        return [each for each in _listed(self._file.read()) if each.until > now]

    def has(self, platform: str, host: str | None, now: float) -> bool:
        return any((each.platform, each.host) == (platform, host) for each in self.hosts(now))

    def add(self, platform: str, host: str, reason: str, now: float) -> None:
        with self._file.changing() as rows:
            kept = [
                each
                for each in _listed(rows)
                if each.until > now and (each.platform, each.host) != (platform, host)
            ]
            rows[:] = [asdict(each) for each in (*kept, Listed(platform, host, reason, now))]

    def clear(self, host: str | None = None) -> int:
        """Forget one host, or all; how many there were."""
        with self._file.changing() as rows:
            kept = [each for each in rows if host is not None and each.get("host") != host]
            gone = len(rows) - len(kept)
            rows[:] = kept
        return gone


def _listed(rows: Rows) -> list[Listed]:
    found = []
    for row in rows:
        try:
            found.append(
                Listed(str(row["platform"]), str(row["host"]), str(row["reason"]), float(row["since"]))
            )
        except (KeyError, TypeError, ValueError):
            continue
    return found
