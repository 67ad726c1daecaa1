"""Photos are decoded by processes of their own: what keeps a decoder busy costs nobody else anything."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from contextlib import suppress
from typing import Any

from anyio import CapacityLimiter
from anyio.to_thread import run_sync

from services.front.creation.photo_process import CPU_SECONDS, HEAD
from services.parameters import RequestError, images
from services.parameters.images import Picture

PROCESSES = 2
WALL_SECONDS = 120.0  # for one photo, where the machine is busy with others' work
# All that a decoder needs of the environment, in which secrets may lie: these, and how Python runs.
ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "LANG", "TMPDIR", "SYSTEMROOT")
PYTHON = ("PYTHON", "_PYTHON")


class PhotoChecks:
    """Starts its processes when they are needed; they end by themselves when they are not."""

    def __init__(self, processes: int = PROCESSES) -> None:
        self._places = CapacityLimiter(processes)
        self._busy: set[_Checker] = set()
        self._free = [_Checker() for _ in range(processes)]

    async def check(self, data: bytes, *, max_bytes: int) -> Picture:
        """As ``images.check``. Who is cancelled leaves its place at once. Raises ``RequestError``."""
        if not data:
            raise images.empty()
        if len(data) > max_bytes:
            raise images.too_large(max_bytes)
        async with self._places:
            checker = self._free.pop()
            self._busy.add(checker)
            is_done = False
            try:
                found = await run_sync(checker.ask, data, max_bytes, abandon_on_cancel=True)
                is_done = True
            finally:
                self._busy.remove(checker)
                if not is_done:
                    checker.end()
                self._free.append(checker if is_done else _Checker())
        if "problem" in found:
            raise RequestError(found["problem"], fix=found["fix"], param=images.PARAM, code=found["code"])
        return Picture(data, found["suffix"], found["width"], found["height"], tuple(found["warnings"]))

    def close(self) -> None:
        for checker in (*self._busy, *self._free):
            checker.end()


class _Checker:
    """One process, which may be there or not."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._changing = threading.Lock()
        self._is_over = False

    def ask(self, data: bytes, max_bytes: int) -> dict[str, Any]:
        """What ``photo_process.answer`` says. Blocks."""
        for _ in range(2):
            process = self._running()
            clock = threading.Timer(WALL_SECONDS, process.kill)
            clock.start()
            try:
                line = _asked(process, HEAD.pack(len(data), max_bytes), data)
            finally:
                clock.cancel()
            if line.endswith(b"\n"):
                answer: dict[str, Any] = json.loads(line)
                return answer
            self._stop()
            if process.returncode != 0:
                break  # it did not go because nobody asked it
        return {
            "problem": f"the image takes more than {CPU_SECONDS} s or too much memory to decode",
            "fix": "open it on your side and save it again",
            "code": "image_too_large",
        }

    def end(self) -> None:
        """For good."""
        self._is_over = True
        self._stop()

    def _stop(self) -> None:
        with self._changing:
            process, self._process = self._process, None
            if process is not None:
                process.kill()
                process.wait()
                for pipe in (process.stdin, process.stdout):
                    with suppress(OSError):  # what was not written yet
                        pipe.close()  # type: ignore[union-attr]

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is not None:
            self._stop()
        with self._changing:
            if self._is_over:
                raise RuntimeError("nobody waits for it")
            if self._process is None:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "services.front.creation.photo_process"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    env={
                        name: value
                        for name, value in os.environ.items()
                        if name in ENVIRONMENT or name.startswith(PYTHON)
                    },
                )
            return self._process


def _asked(process: subprocess.Popen[bytes], *parts: bytes) -> bytes:
    """The answer's line; less when the process ended."""
    assert process.stdin is not None and process.stdout is not None
    try:
        for part in parts:
            process.stdin.write(part)
        process.stdin.flush()
        return process.stdout.readline()
    except (OSError, ValueError):  # it ended, or was ended and its pipes closed
        process.wait()
        return b""
