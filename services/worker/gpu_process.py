"""The parent's end of one process of the GPU child: start it, send orders, receive events, kill it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from pathlib import Path

from bootstrap import logs
from bootstrap.launch import die_with_parent, exit_reason
from services.worker import protocol
from services.worker.protocol import Event, Order

LINE_BYTES = 1024**2
CLOSE_SECONDS = 3.0


class Died(Exception):
    """The child ended by itself; the text is how."""


class ChildProcess:
    """``receive`` gives one event after the other and raises ``Died`` when there are no more."""

    def __init__(self, process: asyncio.subprocess.Process, link: socket.socket) -> None:
        self._process = process
        self._link = link
        self._oom_kills = exit_reason.oom_kills()
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    @classmethod
    async def start(
        cls,
        plan: Path,
        *,
        rank: int = 0,
        world: int = 1,
        engine: str | None = None,
        env: Mapping[str, str] | None = None,
        log: Path | None = None,
    ) -> ChildProcess:
        """With the plan's engine and this process's environment and output, unless others are given."""
        ours, theirs = socket.socketpair()
        with theirs, log.open("ab") if log else nullcontext() as output:
            process = await asyncio.create_subprocess_exec(
                *die_with_parent.command("services.worker.child", "--fd", str(theirs.fileno())),
                *logs.flags(),
                *("--plan", str(plan), "--rank", str(rank), "--world", str(world)),
                *(["--engine", engine] if engine else []),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=env,
                pass_fds=(theirs.fileno(),),
            )
        child = cls(process, ours)
        child._reader, child._writer = await asyncio.open_connection(sock=ours, limit=LINE_BYTES)
        return child

    @property
    def pid(self) -> int:
        return self._process.pid

    async def receive(self) -> Event:
        assert self._reader is not None
        try:
            line = await self._reader.readline()
        except ConnectionError:
            line = b""
        if not line.endswith(b"\n"):
            returncode = await self._process.wait()
            raise Died(exit_reason.reason(returncode, oom_kills=exit_reason.oom_kills() - self._oom_kills))
        return protocol.decode_event(line)

    async def send(self, order: Order) -> None:
        """A child that has died receives nothing: ``receive`` will raise."""
        assert self._writer is not None
        with suppress(ConnectionError):
            self._writer.write(protocol.encode(order))
            await self._writer.drain()

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            self._process.kill()

    async def close(self) -> None:
        """Let it end, and kill it if it does not."""
        assert self._writer is not None
        self._writer.close()
        try:
            await asyncio.wait_for(self._process.wait(), CLOSE_SECONDS)
        except TimeoutError:
            self.kill()
            await self._process.wait()
