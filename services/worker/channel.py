"""The child's end of the socket to its parent."""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Iterator

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
        threading.Thread(target=self._listen, name="orders", daemon=True).start()

    def send(self, event: Event) -> None:
        with self._lock:
            self._link.sendall(protocol.encode(event))

    def report(self, topic: str, event: Loading | Progress) -> None:
        """Sent only when the topic is new or the last report was a moment ago."""
        now = time.monotonic()
        if topic not in self._topics or now - self._reported_at >= REPORT_SECONDS:
            self._topics.add(topic)
            self._reported_at = now
            self.send(event)

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
        self._runs.put(None)
