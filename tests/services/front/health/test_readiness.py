"""Readiness tells the truth about the next request: it would be kept, and a worker would be given it."""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections import namedtuple
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.front.settings import Settings
from services.queue import workers
from tests.services.front.running import WAN, Front, running
from tests.support.waiting import wait_for

MIB = 1024**2
Usage = namedtuple("Usage", "total used free")


class Disk:
    """The machine's disk, as full as a test wants it."""

    def __init__(self) -> None:
        self.total_mib, self.free_mib = 100_000.0, 50_000.0

    def usage(self, _: Any) -> Usage:
        total, free = self.total_mib * MIB, self.free_mib * MIB
        return Usage(total, total - free, free)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    found = Disk()
    monkeypatch.setattr(shutil, "disk_usage", found.usage)
    return found


@pytest.fixture
def ready(wan: Front, monkeypatch: pytest.MonkeyPatch) -> Front:
    monkeypatch.setattr(workers, "SILENT_SECONDS", 3600.0)  # it reports once, and the machine may be busy
    wan.boot(state="ready")
    wan.worker.says("ready")
    assert wan.anybody.get("/readyz").status_code == 200
    return wan


def create(front: Front) -> httpx.Response:
    return front.people.post("/v1/videos", json={"prompt": "a cat"})


def reason(front: Front) -> str | None:
    answer = front.anybody.get("/readyz")
    assert (answer.status_code == 200) == ("reason" not in answer.json())
    assert answer.status_code == 200 or int(answer.headers["retry-after"]) > 0
    found: str | None = answer.json().get("reason")
    return found


def until(front: Front, wanted: str | None) -> None:
    wait_for(lambda: reason(front) == wanted)


def test_a_box_whose_worker_is_lost_says_so(wan: Front) -> None:
    wan.boot(state="ready")
    assert reason(wan) == "no_worker"


# -- the disk ------------------------------------------------------------------------------------------


def test_a_full_disk_holds_claims_back_and_goes_on_by_itself(ready: Front, disk: Disk) -> None:
    name = create(ready).json()["id"]
    disk.free_mib = 500
    until(ready, "disk_full")
    assert ready.anybody.get("/readyz").json()["state"] == "paused"
    assert ready.anybody.get("/ping").status_code == 204
    assert ready.worker.claim() is None
    paused = ready.people.get("/status").json()["paused"]
    assert paused["problem"] == "the disk is full: 500 MiB are free, 512 MiB have to be"
    disk.free_mib = 600
    job = ready.worker.claim(wait_seconds=30)
    assert job is not None
    assert job["id"] == name, "the claim that waited was given it"
    assert reason(ready) is None
    assert ready.people.get("/status").json()["paused"] is None


def test_a_create_on_a_full_disk_is_refused_with_what_to_do(ready: Front, disk: Disk) -> None:
    disk.free_mib = 1
    until(ready, "disk_full")
    answer = create(ready)
    assert answer.status_code == 507
    assert answer.json()["error"]["code"] == "disk_full"
    assert "delete videos" in answer.json()["error"]["fix"]
    assert ready.people.get("/v1/videos").json()["data"] == []


@pytest.mark.parametrize(
    ("total_mib", "free_mib", "is_full"),
    [(12, 2, False), (12, 1, True), (6000, 511, True), (6000, 513, False)],
)
def test_of_a_small_disk_a_tenth_is_kept_free(
    ready: Front, disk: Disk, total_mib: float, free_mib: float, is_full: bool
) -> None:
    disk.total_mib, disk.free_mib = total_mib, free_mib
    until(ready, "disk_full" if is_full else None)


def test_how_much_is_kept_free_is_a_setting(tmp_path: Path, disk: Disk) -> None:
    disk.free_mib = 2000
    with running(Settings(tmp_path, min_free_disk_mib=2001)) as front:
        front.worker.says("ready")
        assert reason(front) == "disk_full"


# -- the database --------------------------------------------------------------------------------------


@pytest.fixture
def locked(ready: Front) -> Iterator[Front]:
    """Another process holds the queue's database for itself."""
    assert create(ready).status_code == 200
    with closing(sqlite3.connect(ready.data_dir / "jobs.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield ready
        if other.in_transaction:
            other.execute("ROLLBACK")


def test_a_database_that_takes_no_job_is_not_ready_and_nobody_waits_for_it(
    locked: Front,
) -> None:
    time.sleep(1.1)  # what was right a second ago may still be said
    began = time.monotonic()
    assert locked.anybody.get("/readyz", timeout=60).json()["reason"] == "database_away"
    assert time.monotonic() - began < 8, "two seconds, on a machine that is busy"


def test_it_is_ready_again_when_the_database_is(ready: Front) -> None:
    assert create(ready).status_code == 200
    with closing(sqlite3.connect(ready.data_dir / "jobs.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        until(ready, "database_away")
    until(ready, None)


def test_many_health_checks_ask_the_database_once(ready: Front) -> None:
    with closing(sqlite3.connect(ready.data_dir / "jobs.db", isolation_level=None)) as other:
        create(ready)
        other.execute("BEGIN IMMEDIATE")
        for _ in range(5):  # one of them waits in the database, the others for that one
            ready.anybody.get("/readyz", timeout=60)
        assert ready.anybody.get("/healthz").status_code == 200
    until(ready, None)


# -- a pause, the end ----------------------------------------------------------------------------------


def test_a_paused_queue_takes_jobs_in_and_gives_none_out(ready: Front) -> None:
    assert ready.people.post("/v1/queue/pause").json() == {"paused": True}
    assert ready.people.post("/v1/queue/pause").json() == {"paused": True}, "twice is no error"
    assert reason(ready) == "queue_paused"
    name = create(ready).json()["id"]
    assert ready.worker.claim() is None
    assert ready.people.get("/status").json()["paused"]["reason"] == "queue_paused"
    assert ready.people.post("/v1/queue/resume").json() == {"paused": False}
    assert reason(ready) is None
    assert ready.worker.claimed()["id"] == name


def test_a_pause_holds_for_all_fronts_of_a_queue_and_outlives_them(tmp_path: Path) -> None:
    shared = f"sqlite:///{tmp_path / 'shared.db'}"
    with running(Settings(tmp_path / "first", database_url=shared)) as first:
        first.worker.says("ready")
        assert first.people.post("/v1/queue/pause").status_code == 200
    with running(Settings(tmp_path / "second", database_url=shared)) as second:
        second.worker.says("ready")
        assert reason(second) == "queue_paused"
        assert second.people.post("/v1/queue/resume").status_code == 200
        assert reason(second) is None


def test_only_people_with_the_token_pause_it(ready: Front) -> None:
    assert ready.anybody.post("/v1/queue/pause").status_code == 401
    assert reason(ready) is None


def test_a_box_that_is_about_to_end_takes_nothing_in_and_gives_nothing_out(ready: Front) -> None:
    create(ready)
    ready.boot(state="stopping")
    assert reason(ready) == "stopping"
    answer = create(ready)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "stopping")
    assert int(answer.headers["retry-after"]) > 0
    assert ready.worker.claim() is None
    assert len(ready.people.get("/v1/videos").json()["data"]) == 1, "reading goes on"


def test_a_box_that_is_emptied_finishes_its_clip_and_takes_no_other(ready: Front, clip: bytes) -> None:
    running_job, waits = create(ready).json()["id"], create(ready).json()["id"]
    job = ready.worker.claimed()
    assert ready.people.post("/v1/queue/drain").status_code == 200
    assert reason(ready) == "draining"
    assert create(ready).status_code == 503
    assert ready.worker.beat(job, progress=0.5).json() == {"cancel": False}
    ready.worker.put(job, clip).raise_for_status()
    ready.worker.finish(job).raise_for_status()
    assert ready.people.get(f"/v1/videos/{running_job}").json()["status"] == "completed"
    assert ready.worker.claim() is None
    ready.people.post("/v1/queue/resume").raise_for_status()
    assert reason(ready) is None
    assert ready.worker.claimed()["id"] == waits


def test_a_drain_is_of_one_box_and_others_go_on(tmp_path: Path) -> None:
    shared = f"sqlite:///{tmp_path / 'shared.db'}"
    with (
        running(Settings(tmp_path / "first", database_url=shared)) as first,
        running(Settings(tmp_path / "second", database_url=shared)) as second,
    ):
        for each in (first, second):
            each.plan(WAN)
            each.worker.name = f"box-{each.data_dir.name}"
            each.worker.says("ready")
        first.people.post("/v1/queue/drain").raise_for_status()
        assert (reason(first), reason(second)) == ("draining", None)
        assert create(second).status_code == 200
        assert first.worker.claim() is None
        assert second.worker.claimed()


# -- two fronts ----------------------------------------------------------------------------------------


def test_a_front_without_own_workers_is_ready_and_takes_jobs_in_by_those_of_others(tmp_path: Path) -> None:
    shared = f"sqlite:///{tmp_path / 'shared.db'}"
    with (
        running(Settings(tmp_path / "first", database_url=shared)) as first,
        running(Settings(tmp_path / "second", database_url=shared)) as second,
        running(Settings(tmp_path / "third", database_url=shared)) as third,
    ):
        for each in (first, second, third):
            each.plan(WAN)
        first.worker.says("ready")
        for each in (second, third):
            until(each, None)
            assert create(each).status_code == 200
        first.worker.says("loading")
        wait_for(lambda: second.anybody.get("/readyz").status_code == 503)
        wait_for(lambda: third.anybody.get("/readyz").status_code == 503)
