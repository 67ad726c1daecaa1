"""The port's connections: how long each may take to say what it wants, and how many there may be.

A connection that sends no request, or a head that never ends, costs a file and nothing else. So it is closed
after a while, and at once where files become rare: whoever comes then is served before those who only wait.
"""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import Iterable
from contextlib import suppress
from heapq import nsmallest

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 20.0  # from the start of a connection, or the end of its last answer, to a whole request head
MOST_FILES = 65536  # enough for any box; each costs the kernel memory
OWN_FILES = 512  # the database, clips and photos, which are open beside the connections
AT_ONCE = 16  # a part of the connections that is closed together, or accepted before others are closed


class Connection(H11Protocol):
    """One of uvicorn's that knows since when no request is under way."""

    waits_since = 0.0
    most: int | None = None  # connections that may be open at once; see ``bounded``

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.waits_since = time.monotonic()
        if self.most is not None and len(self.connections) > self.most:
            close_oldest(of_ours(self.connections), max(1, self.most // AT_ONCE))

    @property
    def waits(self) -> bool:
        """No request is under way, or its head is not complete."""
        return self.cycle is None or self.cycle.response_complete

    def close(self) -> None:
        """At once, unless the end of an answer is still on its way."""
        if self.transport.get_write_buffer_size():
            self.transport.close()
        else:
            self.transport.abort()


def bounded(most: int) -> type[Connection]:
    """The connections of a server that has at most so many."""
    return type("Bounded", (Connection,), {"most": most})


def of_ours(connections: Iterable[object]) -> list[Connection]:
    """A web socket has its own protocol, and its own rules."""
    return [each for each in connections if isinstance(each, Connection) and not each.transport.is_closing()]


def close_silent(connections: Iterable[object]) -> None:
    """Close those that have said nothing whole for ``HEAD_SECONDS``. Call it every second."""
    now = time.monotonic()
    for each in of_ours(connections):
        if not each.waits:
            each.waits_since = now
        elif now - each.waits_since > HEAD_SECONDS:
            each.close()


def close_oldest(connections: Iterable[Connection], number: int) -> None:
    """Close those that have waited longest; one with a request under way is never among them."""
    waiting = (each for each in connections if each.waits)
    for each in nsmallest(number, waiting, key=lambda each: each.waits_since):
        each.close()


def raise_file_limit() -> int:
    """As far as this process may; how many connections fit, with room for its own files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(ValueError, OSError):  # macOS has a lower one than it says
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    files = MOST_FILES if soft == resource.RLIM_INFINITY else soft
    return files - min(OWN_FILES, files // 2)


def burst(most: int) -> int:
    """How many are accepted before those that are too many can be closed."""
    return max(1, min(100, most // AT_ONCE))
