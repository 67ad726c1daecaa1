"""The child's end of the socket to its parent."""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

from services.worker import protocol
from services.worker.protocol import Event, Loading, Progress, Run

REPORT_SECONDS = 0.2


class Channel:
    """``runs`` ends when the parent does."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self._lock = threading.Lock()
        self._runs: queue.Queue[Run | None] = queue.Queue()
        self._cancelled = threading.Event()
        self._reported_at = 0.0
        self._topics: set[str] = set()
        self._held: Loading | Progress | None = None  # the newest report, while it waits for its moment
        threading.Thread(target=self._listen, name="orders", daemon=True).start()

    def send(self, event: Event) -> None:
        with self._lock:
            self._held = None  # what came before it must not come after it
            self._link.sendall(protocol.encode(event))

    def report(self, topic: str, event: Loading | Progress) -> None:
        """Sent at once when the topic is new or the last report was a moment ago, else after that moment.

        Of those that wait the newest is sent: the last thing before a long silence is never lost.
        """
        now = time.monotonic()
        wait_seconds = self._reported_at + REPORT_SECONDS - now
        if topic not in self._topics or wait_seconds <= 0:
            self._topics.add(topic)
            self._reported_at = now
            self.send(event)
            return
        with self._lock:
            is_timed, self._held = self._held is not None, event
        if not is_timed:
            timer = threading.Timer(wait_seconds, self._send_held)
            timer.daemon = True
            timer.start()

    def _send_held(self) -> None:
        with self._lock, suppress(OSError):  # the parent may have gone meanwhile
            event, self._held = self._held, None
            if event is not None:
                self._reported_at = time.monotonic()
                self._link.sendall(protocol.encode(event))

    def runs(self) -> Iterator[Run]:
        while (run := self._runs.get()) is not None:
            self._topics.clear()
            yield run

    def cancelled(self) -> bool:
        return self._cancelled.is_set()

    def _listen(self) -> None:
        with self._link.makefile("rb") as lines:
            for line in lines:
                order = protocol.decode_order(line)
                if isinstance(order, Run):
                    self._cancelled.clear()
                    self._runs.put(order)
                else:
                    self._cancelled.set()
        self._cancelled.set()  # the parent has gone: nobody waits for what is being made
        self._runs.put(None)
