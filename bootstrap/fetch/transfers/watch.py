"""Connections that stall are replaced, and a download that gets nowhere ends."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

from bootstrap.fetch import errors
from bootstrap.fetch.transfers.control import Control
from bootstrap.fetch.transfers.patience import Patience
from bootstrap.fetch.transfers.stream import Stream

PROGRESS_BYTES = 64 * 1024  # less than this in all the time that we are patient is no progress
SLOWEST_BYTES_PER_SECOND = 512


class Watch:
    """Looks at all connections many times a second; call it under the session's lock."""

    def __init__(self, control: Control, streams: Sequence[Stream], patience: Patience) -> None:
        self._control = control
        self._streams = streams
        self._patience = patience
        self._progress_at = time.monotonic()
        self._received_then = 0

    def rest(self, now: float) -> None:
        """Nothing is to be received: that is no lack of progress."""
        self._progress_at = now

    def look(self, now: float) -> None:
        """Close connections that stall; fail the session when there was no progress for too long."""
        control = self._control
        if control.received - self._received_then >= PROGRESS_BYTES:
            self._received_then, self._progress_at = control.received, now
        self._close_stalled(now)
        limit = self._patience.without_progress if control.received else self._patience.to_begin
        if now - max(self._progress_at, control.paused_until) > limit:
            control.failure = errors.unreachable(control.problem or "no bytes arrive", limit)

    def _close_stalled(self, now: float) -> None:
        """A connection that gives nothing, or far less than the others, is closed; its rest goes on."""
        ranges = [each.wanted for each in self._streams if each.wanted]
        rates = [wanted.rate(now) for wanted in ranges if now - wanted.began > 1.0]
        usual = statistics.median(rates) if len(rates) >= 3 else 0.0
        for stream in self._streams:
            wanted = stream.wanted
            if wanted is None:
                continue
            # A cold storage may think for a while before its first byte; later silence is a stall.
            patience = self._patience.stalled * (1 if wanted.pos > wanted.began_at else 2)
            silent = now - stream.received_at > patience
            long_enough = now - wanted.began > self._patience.stalled
            if silent or (long_enough and wanted.rate(now) < max(usual * 0.1, SLOWEST_BYTES_PER_SECOND)):
                self._control.problem = f"{stream.mirror_name} stalls"
                stream.abort()

    def note(self) -> str | None:
        """What the user should know while it runs."""
        control, now = self._control, time.monotonic()
        if control.paused_until > now:
            return f"{control.problem}; going on in {control.paused_until - now:.0f} s"
        if now - self._progress_at > 3.0 and control.problem:
            return f"{control.problem}; trying again"
        return None
