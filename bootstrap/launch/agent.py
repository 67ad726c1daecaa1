"""The agent: binds the port, starts the front, then detect, choose, fetch, launch; keeps all of it running.

python -m bootstrap.launch.agent [--quiet] < settings.json
``kinokit up`` writes the settings, all of them resolved, on its standard input. Until the port is bound,
nothing but the standard library is imported.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, TextIO, cast

from bootstrap import data_directory
from bootstrap.errors import KitError
from bootstrap.launch import listener
from bootstrap.launch.listener import Bound


def main(argv: Sequence[str] | None = None) -> int:
    started_at = time.time()
    quiet = _arguments(argv).quiet
    settings = json.load(sys.stdin)
    data_dir = Path(settings["data_dir"])
    data_directory.restrict_new_files(data_dir)
    try:
        lock = data_directory.occupy(data_dir)
        listening = listener.take_over(settings["host"], settings["port"], os.environ)
        bound = Bound(started_at, time.time())
        _prepare(data_dir, settings.get("token"))
        out = (data_dir / "logs/agent.log").open("a") if quiet else sys.stdout
        return _serve(settings, lock, listening, bound, out)
    except KitError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return error.exit_code
    except KeyboardInterrupt:  # before the run had its own handler: nothing has begun
        return 128 + signal.SIGINT


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bootstrap.launch.agent")
    parser.add_argument("--quiet", action="store_true", help="write to logs/agent.log alone")
    return parser.parse_args(argv)


def _prepare(data_dir: Path, token: str | None) -> None:
    """What the front reads when it starts. Plan and address of an earlier boot say nothing of this one."""
    data_directory.make_private(data_dir)
    data_directory.keep_token(data_dir / data_directory.TOKEN, token)
    data_directory.keep_token(data_dir / data_directory.WORKER_TOKEN)
    for name in data_directory.OF_ONE_BOOT:
        (data_dir / name).unlink(missing_ok=True)


def _serve(
    settings: Mapping[str, Any], lock: IO[str], listening: socket.socket, bound: Bound, out: TextIO
) -> int:
    import asyncio  # the port is bound: now what takes its time

    try:
        code = asyncio.run(_run(settings, listening, bound, out))
    finally:
        lock.close()
    # A download may still be under way in a thread: it can be killed at any moment, and is resumed next time.
    sys.stdout.flush()
    os._exit(code)


async def _run(settings: Mapping[str, Any], listening: socket.socket, bound: Bound, out: TextIO) -> int:
    """The front first, and while it starts everything else is imported."""
    from bootstrap.launch import tls
    from bootstrap.launch.processes import Processes

    settings = tls.settle(settings, os.environ)
    processes = Processes(Path(settings["data_dir"]), os.environ)
    await processes.start_front(listening, settings)

    from bootstrap.launch.run import Run
    from bootstrap.logs import JsonWriter
    from bootstrap.settings import Settings

    resolved = Settings.model_validate(settings)
    if resolved.log_format == "json" and out is not sys.stdout:
        out = cast(TextIO, JsonWriter(out, "kinokit.agent"))
    run = Run(resolved, processes=processes, bound=bound, out=out)
    return await run.run()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # until the run takes over
    sys.exit(main())
