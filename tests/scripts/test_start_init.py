"""The server of scripts/start.sh as a container's process 1: reaps, forwards signals, hands exit codes on."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.scripts import start_script
from tests.support.processes import gone
from tests.support.waiting import wait_for

pytestmark = pytest.mark.apart
both = pytest.mark.parametrize("language", ["perl", "python3"])
# Orphans come to it, as they come to a container's process 1.
FIRST = "import ctypes, os, sys; ctypes.CDLL(None).prctl(36, 1, 0, 0, 0); os.execv(sys.argv[1], sys.argv[1:])"


@both
def test_orphans_do_not_stay_as_zombies(tmp_path: Path, language: str) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    orphans = f"for i in 1 2 3 4 5 6 7 8 9 10; do (cat {gate} & echo orphan $!) ; done"
    kit = start_script.installed(tmp_path, f"#!/bin/sh\n{orphans}\nexec sleep 600\n")
    path = start_script.path_with(tmp_path, language)
    with start_script.started(tmp_path, path, kit, first=(sys.executable, "-c", FIRST)) as box:
        wait_for(lambda: box.logs.count("orphan ") == 10)
        pids = [int(line.split()[1]) for line in box.logs.splitlines() if line.startswith("orphan ")]
        server = box.process.pid
        wait_for(lambda: all(psutil.Process(pid).ppid() == server for pid in pids))
        wait_for(lambda: opened(gate) and not any(psutil.pid_exists(pid) for pid in pids))


def opened(gate: Path) -> bool:
    """Let those through who read it by now."""
    with suppress(OSError):  # nobody does
        os.close(os.open(gate, os.O_WRONLY | os.O_NONBLOCK))
    return True


@both
def test_a_signal_during_the_install_ends_all_of_it(tmp_path: Path, language: str) -> None:
    kit = start_script.installed(tmp_path, "#!/bin/sh\nsleep 600 &\necho busy $!\nwait\n")
    with start_script.started(tmp_path, start_script.path_with(tmp_path, language), kit) as box:
        wait_for(lambda: "busy " in box.logs)
        child = int(box.logs.split("busy ")[1].split()[0])
        assert box.end(signal.SIGTERM) == 128 + signal.SIGTERM
        wait_for(lambda: gone(child))
