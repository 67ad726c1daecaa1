"""Checks photos in a process of its own, whose computing time and memory have an end.

python -m services.front.creation.photo_process: each photo comes as a head (``HEAD``) and its bytes on
standard input, each answer goes to standard output as one line of JSON. It ends by itself when it is not
asked for a while.
"""

from __future__ import annotations

import json
import os
import select
import signal
import struct
import sys
import time
from contextlib import suppress
from typing import Any, BinaryIO

from services.parameters import RequestError, images

HEAD = struct.Struct(">QQ")  # the photo's bytes, and how many it may have
CPU_SECONDS = 15  # a sound photo of 50 megapixels takes one to five
MEMORY_BYTES = 2 * 1024**3
IDLE_SECONDS = 60.0


def answer(data: bytes, max_bytes: int) -> dict[str, Any]:
    try:
        found = images.check(data, max_bytes=max_bytes)
    except RequestError as error:
        return {"problem": error.problem, "fix": error.fix, "code": error.code}
    return {
        "suffix": found.suffix,
        "width": found.width,
        "height": found.height,
        "warnings": found.warnings,
    }


def serve(asked: int, answers: BinaryIO) -> None:
    """``asked``: a file descriptor; what a buffer reads ahead would be hidden from ``select``."""
    while select.select([asked], [], [], IDLE_SECONDS)[0]:
        head = _read(asked, HEAD.size)
        if len(head) < HEAD.size:
            return
        length, max_bytes = HEAD.unpack(head)
        data = _read(asked, length)
        _allow_cpu(CPU_SECONDS)
        answers.write(json.dumps(answer(data, max_bytes)).encode() + b"\n")
        answers.flush()


def _read(file: int, size: int) -> bytes:
    """As much, or less at the end."""
    found = bytearray()
    while len(found) < size and (block := os.read(file, min(size - len(found), 2**20))):
        found += block
    return bytes(found)


def _bound_memory() -> None:
    with suppress(ImportError, ValueError, OSError):  # not everywhere
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _allow_cpu(seconds: int) -> None:
    """From now on: the kernel ends the process after that."""
    with suppress(ImportError, ValueError, OSError):
        import resource

        hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
        resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time()) + 1 + seconds, hard))


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever asks decides
    _bound_memory()
    serve(sys.stdin.fileno(), sys.stdout.buffer)


if __name__ == "__main__":
    main()
