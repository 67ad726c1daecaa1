"""A TCP connection to whichever address of a host answers first (RFC 8305).

A host with an IPv6 address in a network that drops IPv6 costs the head start once: the family that answered
is remembered for the connections that follow.
"""

from __future__ import annotations

import errno
import os
import selectors
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass

HEAD_START_SECONDS = 0.25
WAITS = (errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EALREADY, errno.EINTR)


@dataclass(frozen=True)
class Address:
    """One of a host's addresses."""

    family: int
    place: tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]


_families: dict[str, int] = {}  # that answered last, by host


def connect(host: str, port: int, seconds: float) -> socket.socket:
    """Connect to the first address that answers; its timeout is ``seconds``. OSError when none does."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = in_turns([Address(each[0], each[4]) for each in found], _families.get(host))
    made = _race(addresses, time.monotonic() + seconds)
    _families[host] = made.family
    made.settimeout(seconds)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def in_turns(addresses: Sequence[Address], preferred: int | None) -> list[Address]:
    """The families in turns, ``preferred`` first; without one as the system sorted them."""
    first = preferred if preferred is not None else addresses[0].family
    ones = [address for address in addresses if address.family == first]
    others = [address for address in addresses if address.family != first]
    mixed = [address for pair in zip(ones, others, strict=False) for address in pair]
    return mixed + ones[len(others) :] + others[len(ones) :]


def _race(addresses: list[Address], until: float) -> socket.socket:
    """Start with one, and with the next after the head start or a failure."""
    race = _Race(addresses)
    try:
        while True:
            race.start()
            if race.winner is None:
                race.wait(until)
            if race.winner is not None:
                return race.winner
    finally:
        race.end()


class _Race:
    """The attempts under way."""

    def __init__(self, addresses: list[Address]) -> None:
        self._waiting = addresses
        self._selector = selectors.DefaultSelector()
        self._next_at = 0.0
        self._failure: OSError | None = None
        self.winner: socket.socket | None = None

    def start(self) -> None:
        """Begin with the next address when it is its turn."""
        while self._waiting and self.winner is None and time.monotonic() >= self._next_at:
            address = self._waiting.pop(0)
            try:
                made = socket.socket(address.family, socket.SOCK_STREAM)
            except OSError as error:  # the system has no such family
                self._failure = self._failure or error
                continue
            made.setblocking(False)
            code = made.connect_ex(address.place)
            if code in WAITS:
                self._selector.register(made, selectors.EVENT_WRITE)
                self._next_at = time.monotonic() + HEAD_START_SECONDS
            else:
                self._answered(made, code)

    def wait(self, until: float) -> None:
        """Until one answers or the next may start. OSError when none is left or it is too late."""
        now = time.monotonic()
        if not self._waiting and not self._selector.get_map():
            raise self._failure or TimeoutError("no address answers")
        if now >= until:
            raise TimeoutError("no address answers")
        pause = min(until, self._next_at) - now if self._waiting else until - now
        for key, _ in self._selector.select(max(pause, 0.0)):
            made = key.fileobj
            assert isinstance(made, socket.socket)
            self._selector.unregister(made)
            self._answered(made, made.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))

    def _answered(self, made: socket.socket, code: int) -> None:
        if code == 0 and self.winner is None:
            self.winner = made
            return
        made.close()
        if code:
            self._failure = self._failure or OSError(code, os.strerror(code))
            self._next_at = 0.0

    def end(self) -> None:
        """Give up on all others."""
        for key in list(self._selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
        self._selector.close()
