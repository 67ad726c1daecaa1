"""One process that is kept running: started, watched, started again after a growing pause, and ended."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bootstrap.launch import bounded_log, exit_reason


@dataclass(frozen=True)
class Policy:
    """How patient the supervisor is."""

    pauses: tuple[float, ...]  # seconds before each restart in a row; the last one repeats
    quick_seconds: float = 60.0  # a process that lived longer than this starts the row anew
    give_up_after: int | None = None  # quick deaths in a row; None: never
    log_bytes: int = bounded_log.MOST_BYTES
    log_look_seconds: float = bounded_log.LOOK_SECONDS


FRONT = Policy(pauses=(0.0, 0.5, 1.0, 2.0, 5.0, 10.0))
WORKER = Policy(pauses=(1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0), give_up_after=6)


@dataclass(frozen=True)
class Death:
    """The end of one run. ``gave_up``: it is not started again."""

    name: str
    reason: str
    quick_deaths: int
    pause_seconds: float
    gave_up: bool


class Supervised:
    """``died`` receives every end that was not asked for."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        log: Path,
        policy: Policy,
        died: Callable[[Death], None],
        pass_fds: Sequence[int] = (),
        stdin: bytes = b"",
    ) -> None:
        """``stdin`` is what the process reads on its standard input, each time that it is started."""
        self.name = name
        self.process: asyncio.subprocess.Process | None = None
        self.started = asyncio.Event()
        self._stop = asyncio.Event()
        self._command = list(command)
        self._env = dict(env)
        self._log = log
        self._policy = policy
        self._died = died
        self._pass_fds = tuple(pass_fds)
        self._stdin = stdin
        self._quick_deaths = 0

    async def run(self) -> None:
        """Keep it running until it is stopped or given up."""
        while True:
            started = time.monotonic()
            self.process = await self._start()
            self.started.set()
            oom_kills = await asyncio.to_thread(exit_reason.oom_kills)
            returncode = await self._ended(self.process)
            _end_group(self.process.pid)
            if self._stop.is_set():
                return
            lived = time.monotonic() - started
            death = self._judge(returncode, lived, exit_reason.oom_kills() - oom_kills)
            self._died(death)
            if death.gave_up:
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), death.pause_seconds)
                return

    def ask_to_end(self) -> None:
        """SIGTERM, to the process itself: it ends its own children in order."""
        self._stop.set()
        if self.process is not None and self.process.returncode is None:
            with suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """The process and everything it started."""
        self._stop.set()
        if self.process is not None:
            _end_group(self.process.pid)

    async def _ended(self, process: asyncio.subprocess.Process) -> int:
        """Its return code, once it has ended; meanwhile its log is kept short."""
        bounds, look = self._policy.log_bytes, self._policy.log_look_seconds
        watch = asyncio.create_task(bounded_log.watch(self._log, most_bytes=bounds, look_seconds=look))
        try:
            return await process.wait()
        finally:
            watch.cancel()

    async def _start(self) -> asyncio.subprocess.Process:
        if bounded_log.is_too_long(self._log, self._policy.log_bytes):
            bounded_log.put_aside(self._log)
        with self._log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                env=self._env,
                stdin=subprocess.PIPE if self._stdin else subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=self._pass_fds,
                # a group of its own: a terminal's Ctrl-C reaches the agent alone, which ends all in order
                process_group=0,
            )
        if process.stdin is not None:
            with suppress(ConnectionError):  # it ended before it read: its end is noticed by ``run``
                process.stdin.write(self._stdin)
                await process.stdin.drain()
            process.stdin.close()
        return process

    def _judge(self, returncode: int, lived_seconds: float, oom_kills: int) -> Death:
        if lived_seconds > self._policy.quick_seconds:
            self._quick_deaths = 0
        self._quick_deaths += 1
        pauses, most = self._policy.pauses, self._policy.give_up_after
        words = exit_reason.last_lines(self._log) if returncode != -signal.SIGKILL else ""
        return Death(
            name=self.name,
            reason=exit_reason.reason(returncode, oom_kills=oom_kills)
            + (f"; its last words: {words}" if words else ""),
            quick_deaths=self._quick_deaths,
            pause_seconds=pauses[min(self._quick_deaths, len(pauses)) - 1],
            gave_up=most is not None and self._quick_deaths >= most,
        )


def _end_group(leader: int) -> None:
    """A leader that was killed may have left processes behind."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)
