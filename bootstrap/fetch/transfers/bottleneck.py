"""Whether the disk or the link is what a download waits for, from what is measured while it runs.

While the page cache takes what is written, connections wait for the network and the rate is the link's.
When the cache is full, they wait in ``write``, and the rate is the disk's. What the cache holds is written
out at the end, before a file counts as kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

WINDOW_SECONDS = 1.0
WRITING = 0.5  # of the connections' time in ``write``: with more, they wait for the disk
READING = 0.25  # with less, they wait for the link
SEEN_SECONDS = 3.0  # that it lasts before it is reported
SLOWER = 0.8  # of the link's rate: a faster disk is not worth a note


class Bottleneck:
    """Learns both rates from the session's counters, which ``see`` gets again and again."""

    def __init__(self) -> None:
        self.link: float | None = None  # bytes a second, the best that was seen while the disk kept up
        self.disk: float | None = None  # while it did not
        self._began: tuple[float, int, float] | None = None  # of this window: when, received, write seconds
        self._connections = 0.0  # summed over time
        self._at = 0.0
        self._waited_seconds = 0.0
        self._waited_bytes = 0
        self._flushing: set[object] = set()
        self._flushed_seconds = 0.0
        self._rate_before = 0.0  # of the window before, where it was the link's

    def see(self, now: float, *, received: int, write_seconds: float, connections: int) -> None:
        """``received`` bytes and ``write_seconds`` of all connections are sums since the start."""
        if self._began is None:
            self._began, self._at = (now, received, write_seconds), now
            return
        self._connections += connections * (now - self._at)
        self._at = now
        since, bytes_before, written_before = self._began
        if now - since < WINDOW_SECONDS:
            return
        count, writing = received - bytes_before, write_seconds - written_before
        is_flushing = bool(self._flushing and not self._connections)
        self._flushed_seconds = self._flushed_seconds + now - since if is_flushing else 0.0
        if self._connections and writing >= WRITING * self._connections:
            self._waited_seconds += now - since
            self._waited_bytes += count
            self.disk = self._waited_bytes / self._waited_seconds
        rate = count / (now - since) if writing <= READING * self._connections else 0.0
        # A long write counts when it ends, which may be one window late: two in a row must agree.
        if steady := min(rate, self._rate_before):
            self.link = max(self.link or 0.0, steady)
        self._rate_before = rate
        self._began, self._connections = (now, received, write_seconds), 0.0

    @contextmanager
    def flushing(self) -> Iterator[None]:
        """While a file is written out from memory; from any thread."""
        mark = object()
        self._flushing.add(mark)
        try:
            yield
        finally:
            self._flushing.discard(mark)

    def note(self) -> str | None:
        """A sentence for the user; None while the link is the limit."""
        if self._flushing and self._flushed_seconds >= SEEN_SECONDS:
            return "all has arrived; the disk still writes it out"
        if self.disk is None or self._waited_seconds < SEEN_SECONDS:
            return None
        if self.link is None:
            return f"the disk takes {_rate(self.disk)} and is what the download waits for"
        if self.disk > SLOWER * self.link:
            return None
        return f"disk {_rate(self.disk)} is slower than the link {_rate(self.link)}"


def _rate(bytes_per_second: float) -> str:
    """
    >>> _rate(182_400_000.0)
    '182 MB/s'
    """
    return f"{bytes_per_second / 1e6:.0f} MB/s"
