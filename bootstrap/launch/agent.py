"""The agent: binds the port, starts the front, then detect, choose, fetch, launch; keeps all of it running.

python -m bootstrap.launch.agent --host H --port P --data-dir D --service S --auth on|off [--flags JSON] …
Until the port is bound, nothing but the standard library is imported.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from bootstrap import data_directory
from bootstrap.errors import KitError
from bootstrap.launch import listener
from bootstrap.launch.listener import Bound


def main(argv: Sequence[str] | None = None) -> int:
    started_at = time.time()
    arguments = _arguments(argv)
    try:
        lock = data_directory.occupy(arguments.data_dir)
        listening = listener.listen(arguments.host, arguments.port)
        bound = Bound(started_at, time.time())
        _prepare(arguments.data_dir)
        return _serve(arguments, lock, listening, bound)
    except KitError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return error.exit_code
    except KeyboardInterrupt:  # before the service had its own handler: nothing has begun
        return 128 + signal.SIGINT


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bootstrap.launch.agent")
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--service", default="api")
    parser.add_argument("--auth", choices=("on", "off"), default="on")
    parser.add_argument("--flags", type=json.loads, default={}, help="the settings given as flags, as JSON")
    parser.add_argument("--config", type=Path)
    parser.add_argument("--quiet", action="store_true", help="write to logs/agent.log alone")
    return parser.parse_args(argv)


def _prepare(data_dir: Path) -> None:
    """What the front reads when it starts. A plan of an earlier boot says nothing of this one."""
    data_directory.keep_token(data_dir / data_directory.TOKEN)
    data_directory.keep_token(data_dir / data_directory.WORKER_TOKEN)
    for name in (data_directory.PLAN, data_directory.DRAFT, data_directory.ARRIVALS, data_directory.BOOT):
        (data_dir / name).unlink(missing_ok=True)


def _serve(arguments: argparse.Namespace, lock: IO[str], listening: socket.socket, bound: Bound) -> int:
    import asyncio  # the port is bound: now what takes its time

    try:
        code = asyncio.run(_run(arguments, listening, bound))
    finally:
        lock.close()
    # A download may still be under way in a thread: it can be killed at any moment, and is resumed next time.
    sys.stdout.flush()
    os._exit(code)


async def _run(arguments: argparse.Namespace, listening: socket.socket, bound: Bound) -> int:
    """The front first, and while it starts everything else is imported."""
    from bootstrap.launch.processes import Processes

    data_dir: Path = arguments.data_dir
    processes = Processes(data_dir, os.environ)
    await processes.start_front(listening, service=arguments.service, auth=arguments.auth == "on")

    from bootstrap.launch.run import Service

    service = Service(
        data_dir=data_dir,
        host=arguments.host,
        port=arguments.port,
        auth=arguments.auth == "on",
        flags=arguments.flags,
        config=arguments.config,
        processes=processes,
        bound=bound,
        out=(data_dir / "logs/agent.log").open("a") if arguments.quiet else sys.stdout,
    )
    return await service.run()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # until the service takes over
    sys.exit(main())
