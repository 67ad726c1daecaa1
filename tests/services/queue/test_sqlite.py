"""The queue's file on volumes that can less than a disk: no shared memory, no locks."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from services.queue.job import NewJob
from services.queue.queue import Queue

# Two fronts' worth of connections, and a job that goes all the way.
USE = """
import sys, threading
from bootstrap.errors import KitError
from services.queue.job import Abilities, NewJob
from services.queue.queue import Queue
try:
    queue, other = Queue(sys.argv[1]), Queue(sys.argv[1])
except KitError as error:
    sys.exit(f"{error.problem}|{error.fix}")
def ask(number):
    (queue, other)[number % 2].enqueue(NewJob(f"job-{number}", "demo", {}), max_queued=99)
threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
[each.start() for each in threads]
[each.join() for each in threads]
job = other.claim("w", Abilities(("demo",)))
assert queue.complete(job.id, job.token, content_name="c.mp4", metadata={})
print(queue.counts())
"""


@pytest.fixture(scope="module")
def limits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("limits") / "limited_disk.so"
    source = Path(__file__).with_name("limited_disk.c")
    subprocess.run(["gcc", "-shared", "-fPIC", "-w", "-o", str(made), str(source)], check=True)
    return made


def use(volume: Path, limits: Path, kind: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "LD_PRELOAD": str(limits), "LIMITED": kind, "LIMITED_DIR": str(volume)}
    command = [sys.executable, "-c", USE, f"sqlite:///{volume / 'jobs.db'}"]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)


def journal(volume: Path) -> str:
    with closing(sqlite3.connect(volume / "jobs.db")) as connection:
        return str(connection.execute("PRAGMA journal_mode").fetchone()[0])


def test_a_volume_without_shared_memory_has_a_working_queue(tmp_path: Path, limits: Path) -> None:
    done = use(tmp_path, limits, "memory")
    assert done.returncode == 0, done.stderr
    assert "{'queued': 7, 'in_progress': 0, 'completed': 1, 'failed': 0}" in done.stdout
    assert f"the file system of {tmp_path} (" in done.stderr
    assert journal(tmp_path) == "delete"  # not WAL: the next process could not read it there


def test_a_queue_that_was_moved_there_keeps_its_jobs(tmp_path: Path, limits: Path) -> None:
    elsewhere = Queue(f"sqlite:///{tmp_path / 'jobs.db'}")
    elsewhere.enqueue(NewJob("before", "demo", {}), max_queued=10)
    elsewhere.close()
    assert journal(tmp_path) == "wal"
    done = use(tmp_path, limits, "memory")
    assert "'queued': 8" in done.stdout, done.stderr
    back = Queue(f"sqlite:///{tmp_path / 'jobs.db'}")
    assert back.get("before") is not None
    back.close()
    assert journal(tmp_path) == "wal"  # on a disk that can, it is fast again


def test_a_volume_without_locks_is_refused_by_the_name_of_its_file_system(
    tmp_path: Path, limits: Path
) -> None:
    done = use(tmp_path, limits, "locks")
    assert done.returncode == 1
    problem, _, fix = done.stderr.strip().partition("|")
    assert problem.startswith(f"the file system of {tmp_path} (")
    assert "has no file locks" in problem
    assert "--data-dir" in fix
    assert not (tmp_path / "jobs.db").exists()
