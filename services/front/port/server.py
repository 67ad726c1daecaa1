"""The server below the app: its connections, how it ends, how often it wakes, what its access log says."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from types import FrameType

import uvicorn

from bootstrap.launch import listener
from services.front.door.auth import hide_token
from services.front.metrics import account
from services.front.port import connections, request_ids
from services.front.port.tls_port import TlsPort
from services.queue import notifier
from services.queue.notifier import Notifier

MOST_CONNECTIONS = 512  # where nobody has asked for more files
DATE_SECONDS = 1.0  # the Date header's own step
# Asked every few seconds; the last by the studio
QUIET_PATHS = ("/internal/", "/healthz", "/readyz", "/ping", "/status", "/v1/videos?limit=")


class Server(uvicorn.Server):
    """Tells long answers to end as soon as the signal comes, so that stopping takes no longer than they."""

    def __init__(
        self,
        config: uvicorn.Config,
        notifier: Notifier,
        *,
        most_connections: int = MOST_CONNECTIONS,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        config.http = connections.bounded(most_connections)
        config.backlog = connections.burst(most_connections)  # asyncio accepts so many in one go
        super().__init__(config)
        self._notifier = notifier
        self._tls = tls
        self._tls_ports: list[TlsPort] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._exits = asyncio.Event()

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        for each in sockets or ():
            # asyncio does it where a socket names its protocol. Without it the body of a small answer waits
            # until the client has acknowledged the headers: 40 ms on Linux.
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await super().serve(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        if self._tls is None:
            await super().startup(sockets)
        else:
            await super().startup([])
            self._tls_ports = [TlsPort(each, self._tls, self._connection) for each in sockets or ()]
        for each in sockets or ():
            each.listen(listener.BACKLOG)  # whoever waits in the kernel's queue costs nothing

    def _connection(self) -> asyncio.Protocol:
        state, of_app = self.server_state, self.lifespan.state
        made: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=state, app_state=of_app
        )
        return made

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for each in self._tls_ports:
            each.close()
        await super().shutdown(sockets)

    async def on_tick(self, counter: int) -> bool:
        connections.close_silent(self.server_state.connections)
        return await super().on_tick(counter)

    async def main_loop(self) -> None:
        """As often as the Date header changes; uvicorn's own looks ten times a second for the end."""
        while not await self.on_tick(0):
            await notifier.wait(self._exits, DATE_SECONDS)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._notifier.stop)
            self._loop.call_soon_threadsafe(self._exits.set)


class AccessFilter(logging.Filter):
    """No token in a log, no line for what is asked every few seconds and went well; ms and the request's id.

    The time is until the answer begins. As JSON a line has its parts as fields, and the route's template.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        if not isinstance(record.args, tuple) or len(record.args) != 5:
            return True
        client, method, path, version, status = record.args
        if str(path).startswith(QUIET_PATHS) and isinstance(status, int) and status < 400:
            return False
        record.msg = f"{record.msg} %.1f ms %s"
        name, answer = request_ids.current() or "-", account.current()
        record.args = (client, method, hide_token(str(path)), version, status, answer.ms(), name)
        fields = {"client": client, "method": method, "status": status, "route": answer.route}
        job_id = answer.job_id
        if job_id is not None:
            fields["job_id"] = job_id
        record.__dict__.update(fields, ms=round(answer.ms(), 1))
        return True
