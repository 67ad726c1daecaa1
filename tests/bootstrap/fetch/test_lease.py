"""Machines that share a volume and do not see each other's locks: one fetches, the others wait."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from bootstrap.fetch import lease
from tests.bootstrap.fetch.conftest import FILES, MIB, Model
from tests.support.waiting import wait_for

SIZE = sum(map(len, FILES.values()))
Machine = subprocess.Popen[str]


@pytest.fixture
def machines(model: Model) -> Iterator[list[Machine]]:
    """Two that want the same model; the first is at it, the second waits for it."""
    model.server.bytes_per_second = 3 * MIB
    first = start(model, "first")
    started = [first]
    wait_for(lambda: model.server.bytes_sent() > MIB, 60)
    second = start(model, "second")
    started.append(second)
    assert second.stdout is not None
    assert f"process {first.pid} on {os.uname().nodename}" in second.stdout.readline()
    yield started
    for each in started:
        with suppress(ProcessLookupError):
            each.kill()
        each.communicate(timeout=60)


def start(model: Model, name: str) -> Machine:
    manifest = model.store.parent / "manifest.json"
    manifest.write_text(model.manifest.model_dump_json())
    command = [sys.executable, "-m", "tests.bootstrap.fetch.one_machine", name, str(manifest)]
    env = {**os.environ, "HF_HUB_CACHE": str(model.store.parent / "none")}
    return subprocess.Popen(
        [*command, str(model.store), model.server.endpoint], env=env, stdout=subprocess.PIPE, text=True
    )


def ended_well(machine: Machine) -> bool:
    machine.communicate(timeout=120)
    return machine.returncode == 0


def is_all_there(model: Model) -> bool:
    return {path: (model.home / path).read_bytes() for path in FILES} == FILES


def test_one_fetches_and_the_other_finds_all_files_there(model: Model, machines: list[Machine]) -> None:
    assert [ended_well(each) for each in machines] == [True, True]
    assert is_all_there(model)
    assert model.server.bytes_sent() < 1.2 * SIZE
    assert not (model.home / lease.LEASE_NAME).exists()


def test_a_killed_machine_is_followed_by_the_one_that_waits(model: Model, machines: list[Machine]) -> None:
    wait_for(lambda: any("w " in each.read_text() for each in model.home.rglob("*.journal")), 60)
    machines[0].kill()
    model.server.bytes_per_second = None
    assert ended_well(machines[1])
    assert is_all_there(model)
    assert model.server.bytes_sent() < 1.9 * SIZE  # what the first had written is not asked for again


def test_a_machine_that_stood_still_does_not_disturb_its_successor(
    model: Model, machines: list[Machine]
) -> None:
    machines[0].send_signal(signal.SIGSTOP)
    first_lease = (model.home / lease.LEASE_NAME).read_text()
    wait_for(lambda: (model.home / lease.LEASE_NAME).read_text() != first_lease, 60)
    machines[0].send_signal(signal.SIGCONT)
    model.server.bytes_per_second = None
    assert [ended_well(each) for each in machines] == [True, True]
    assert is_all_there(model)
    assert model.missing_bytes == 0


def test_a_killed_process_of_the_same_machine_is_followed_at_once(tmp_path: Path) -> None:
    slow = lease.Pace(silent=600)
    with lease.only_fetcher(tmp_path, lambda _: None, pace=slow):
        left = (tmp_path / lease.LEASE_NAME).read_bytes()
    (tmp_path / lease.LEASE_NAME).write_bytes(left)  # as kill -9 leaves it
    with lease.only_fetcher(tmp_path, lambda _: None, pace=slow) as still_ours:
        still_ours()


def test_files_that_are_there_are_used_while_another_box_is_at_work(model: Model) -> None:
    model.fetch()
    with lease.only_fetcher(model.home, lambda _: None):
        assert model.is_right(model.fetch())
    (model.home / lease.LOCK_NAME).unlink()
    assert model.is_right(model.fetch())
    assert not (model.home / lease.LOCK_NAME).exists()  # a volume may be read-only
