"""Starts a module of the kit so that it ends when the process that started it does, even by kill -9.

``python -m bootstrap.launch.die_with_parent PARENT_PID MODULE ARGUMENTS``. The kernel's death signal belongs
to the process that asks for it, so the new process asks itself: code between fork and exec is not safe with
threads.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import sys
import threading
import time
from collections.abc import Sequence

PR_SET_PDEATHSIG = 1
LOOK_SECONDS = 1.0


def command(module: str, *arguments: str, python: str | None = None) -> list[str]:
    """What to run for a module of the kit, as a child of this process; ``python`` when not this one."""
    return [
        python or sys.executable,
        "-m",
        "bootstrap.launch.die_with_parent",
        str(os.getpid()),
        module,
        *arguments,
    ]


def end_with_parent(parent: int) -> None:
    """Let the kernel kill this process when its parent ends; end now when it has ended already."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    else:
        threading.Thread(target=_watch, args=(parent,), name="parent", daemon=True).start()
    if os.getppid() != parent:
        sys.exit(f"the process {parent} that started this one has ended")


def _watch(parent: int) -> None:
    """Other systems have no such signal: an orphan gets another parent."""
    while os.getppid() == parent:
        time.sleep(LOOK_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)


def main(argv: Sequence[str]) -> None:
    parent, module, *arguments = argv
    end_with_parent(int(parent))
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1:])
