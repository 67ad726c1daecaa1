"""A process that is kept running, with real processes."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bootstrap.launch.supervise import Death, Policy, Supervised
from tests.support.processes import gone

QUICK = Policy(pauses=(0.0, 0.05, 0.1), give_up_after=3)


def supervised(script: str, log: Path, died: Callable[[Death], None], policy: Policy = QUICK) -> Supervised:
    command = [sys.executable, "-c", script]
    return Supervised("it", command, env=os.environ, log=log, policy=policy, died=died)


def test_it_is_started_again_with_growing_pauses_and_given_up(tmp_path: Path) -> None:
    deaths: list[Death] = []
    asyncio.run(supervised("raise SystemExit(7)", tmp_path / "log", deaths.append).run())
    assert [death.pause_seconds for death in deaths] == [0.0, 0.05, 0.1]
    assert [death.gave_up for death in deaths] == [False, False, True]


def test_a_death_says_the_exit_code_and_the_last_words(tmp_path: Path) -> None:
    deaths: list[Death] = []
    script = "import sys; print('first'); sys.exit('the disk is gone')"
    asyncio.run(supervised(script, tmp_path / "log", deaths.append).run())
    assert deaths[0].reason == "ended with exit code 1; its last words: first | the disk is gone"


def test_a_process_that_lived_long_enough_begins_the_row_anew(tmp_path: Path) -> None:
    policy = Policy(pauses=(0.0, 5.0), quick_seconds=0.05, give_up_after=2)
    deaths: list[Death] = []

    async def three_lives() -> None:
        it = supervised(
            "import time; time.sleep(0.2); raise SystemExit(1)", tmp_path / "log", deaths.append, policy
        )
        run = asyncio.create_task(it.run())
        while len(deaths) < 3:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.02)
        it.kill()
        await run

    asyncio.run(three_lives())
    assert [death.quick_deaths for death in deaths[:3]] == [1, 1, 1]


def test_an_end_that_was_asked_for_is_no_death(tmp_path: Path) -> None:
    deaths: list[Death] = []

    async def start_and_stop() -> None:
        it = supervised("import time; time.sleep(60)", tmp_path / "log", deaths.append)
        run = asyncio.create_task(it.run())
        await it.started.wait()
        it.ask_to_end()
        await asyncio.wait_for(run, 5)

    asyncio.run(start_and_stop())
    assert deaths == []


def test_a_long_pause_does_not_hold_up_the_end(tmp_path: Path) -> None:
    deaths: list[Death] = []

    async def stop_while_it_pauses() -> float:
        policy = Policy(pauses=(60.0,))
        it = supervised("raise SystemExit(1)", tmp_path / "log", deaths.append, policy)
        run = asyncio.create_task(it.run())
        while not deaths:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.02)
        began = time.monotonic()
        it.ask_to_end()
        await asyncio.wait_for(run, 5)
        return time.monotonic() - began

    assert asyncio.run(stop_while_it_pauses()) < 1


def test_what_a_killed_process_left_behind_is_ended_too(tmp_path: Path) -> None:
    script = (
        "import os, subprocess, sys, signal;"
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']);"
        "print(p.pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    asyncio.run(supervised(script, tmp_path / "log", lambda _: None, Policy((0.0,), give_up_after=1)).run())
    left = int((tmp_path / "log").read_text())
    until = time.monotonic() + 5
    while not gone(left):
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_log_that_has_grown_too_long_is_put_aside(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("wb") as file:
        file.truncate(21 * 1024**2)
    asyncio.run(supervised("print('new')", log, lambda _: None, Policy((0.0,), give_up_after=1)).run())
    assert log.read_text() == "new\n"
    assert (tmp_path / "log.1").stat().st_size == 21 * 1024**2


def test_a_log_is_kept_short_while_the_process_runs(tmp_path: Path) -> None:
    """The file stays the one that the process has open; what was there lies beside it, once."""
    log = tmp_path / "log"
    policy = Policy(pauses=(0.0,), log_bytes=100_000, log_look_seconds=0.05)
    script = "import time\nfor n in range(10**9): print(n, 'x' * 2000, flush=True); time.sleep(0.001)"

    async def talkative() -> None:
        it = supervised(script, log, lambda _: None, policy)
        run = asyncio.create_task(it.run())
        until = time.monotonic() + 60
        rounds, before = 0, 0
        while rounds < 3:
            await asyncio.sleep(0.01)
            size = log.stat().st_size if log.exists() else 0
            rounds += size < before
            before = size
            assert time.monotonic() < until
        it.kill()
        await run

    asyncio.run(talkative())
    assert sorted(each.name for each in tmp_path.iterdir()) == ["log", "log.1"]
    assert (tmp_path / "log.1").stat().st_size > 100_000
    assert not log.read_bytes().startswith(b"\0")
