"""Where a file can be had: which site a connection uses, the address there, who is left out."""

from __future__ import annotations

import threading
import time

from bootstrap.fetch import errors
from bootstrap.fetch.hub import Located, Site
from bootstrap.fetch.transfer import Work


class Sites:
    """What all connections have learnt of the hub and its mirrors. ``lock`` is the engine's."""

    def __init__(self, lock: threading.Condition) -> None:
        self._lock = lock
        self._rates: dict[str, float] = {}
        self._dropped: set[str] = set()
        self._nonsense: dict[str, int] = {}
        self._located: dict[tuple[str, str], Located] = {}
        self._asking: dict[tuple[str, str], threading.Lock] = {}

    def choose(self, last_name: str, number: int, work: Work) -> Site:
        """The site a connection used last, while it is not far behind the fastest; the hub after damage.

        ``number`` spreads connections that have used none over the good ones.
        """
        with self._lock:
            alive = [site for site in work.sites if site.name not in self._dropped] or work.sites
            if work.restarts or work.strikes:
                return alive[0]
            best = max((self._rates.get(site.name, 0.0) for site in alive), default=0.0)
            good = [s for s in alive if self._rates.get(s.name, best) >= best / 2]
            for site in good:
                if site.name == last_name:
                    return site
            return good[number % len(good)]

    def measured(self, site: Site, rate: float) -> None:
        """A connection's rate over one part, as the mirrors are compared by."""
        with self._lock:
            before = self._rates.get(site.name)
            self._rates[site.name] = rate if before is None else 0.7 * before + 0.3 * rate

    def know(self, work: Work, site: Site, located: Located) -> None:
        """An address that was asked for before the fetch began."""
        self._located[(work.file.path, site.name)] = located

    def locate(self, work: Work, site: Site) -> Located:
        """The file's address at this site, asked once for all connections and again when it grows old."""
        key = (work.file.path, site.name)
        with self._lock:
            asking = self._asking.setdefault(key, threading.Lock())
        with asking:
            known = self._located.get(key)
            if known is None or (known.good_until is not None and time.monotonic() > known.good_until):
                known = site.locate(work.file)
                _agree(known, work, site)
                self._located[key] = known
            return known

    def forget(self, work: Work, site: Site, located: Located) -> None:
        """This address is used up; the next connection asks for a new one."""
        key = (work.file.path, site.name)
        with self._lock:
            if self._located.get(key) is located:
                del self._located[key]

    def spoke_nonsense(self, site: Site) -> int:
        """How many answers in a row, of all connections, made no sense."""
        with self._lock:
            count = self._nonsense[site.name] = self._nonsense.get(site.name, 0) + 1
            return count

    def spoke_sense(self) -> None:
        """Bytes came that could be used."""
        self._nonsense.clear()

    def drop(self, name: str, work: Work) -> bool:
        """Stop using a site that fails while another is left; False when it is the last."""
        with self._lock:
            others = [s for s in work.sites if s.name != name and s.name not in self._dropped]
            if others:
                self._dropped.add(name)
            return bool(others)


def _agree(found: Located, work: Work, site: Site) -> None:
    """A site whose own words say that it has something else is not asked for bytes."""
    said = found.git_oid if work.by_git else found.sha256
    if said and work.expected and said != work.expected:
        raise errors.SiteError(
            f"{site.name} has another {work.file.path}: its digest is {said}, expected {work.expected}",
            fix="leave this mirror out",
        )
    if found.bytes not in (None, work.file.bytes):
        raise errors.SiteError(
            f"{site.name} has {found.bytes} bytes of {work.file.path}, not {work.file.bytes}",
            fix="correct the manifest, or leave this mirror out",
        )
