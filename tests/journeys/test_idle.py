"""An idle kit costs nothing: ready, and nobody asks for anything."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from tests.journeys.conftest import Booted

SCRIPT = Path(__file__).parents[2] / "scripts/bench_idle.py"
# 3 of all processes together; 23 when the agent asked the front every 2 s, the front the queue every second
# and itself ten times a second
WAKEUPS_A_SECOND = 8.0


def test_a_kit_that_waits_for_work_sleeps(kit: Booted) -> None:
    """Wakeups are counted, since they do not depend on what else the machine does."""
    kit.ready()
    time.sleep(5)  # what follows at once on "ready"
    command = [sys.executable, str(SCRIPT), "--data-dir", str(kit.data_dir), "--seconds", "10"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = {line.split()[0]: float(line.split()[-1]) for line in done.stdout.splitlines()[1:]}
    assert len(rows) == 5, done.stdout  # agent, front, worker, GPU child, all
    assert 0 < rows["all"] < WAKEUPS_A_SECOND, done.stdout
