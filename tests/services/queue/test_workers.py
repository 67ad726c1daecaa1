"""What the fronts know of the workers: those that report to them, and those that report to others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import update

from bootstrap.choose.plan import Plan
from services.queue import table
from services.queue.database import Database
from services.queue.queue import Queue
from services.queue.workers import SILENT_SECONDS, WorkerRegistry
from tests.services.front.running import SVD, WAN, plan


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def queue(url: str) -> Iterator[Queue]:
    queue = Queue(url)
    yield queue
    queue.close()


def registry(clock: Clock, **plans: Plan) -> WorkerRegistry:
    made = WorkerRegistry(clock, clock)
    for worker, announced in plans.items():
        made.report(worker, "ready", plan=announced)
    return made


def test_a_worker_that_is_silent_is_not_present() -> None:
    clock = Clock()
    workers = registry(clock, a=plan(SVD))
    assert (workers.ready, set(workers.plans())) == (1, {"demo"})
    clock.now += SILENT_SECONDS + 1
    assert (workers.ready, workers.plans(), len(workers.all())) == (0, {}, 1)


@pytest.mark.parametrize("jump_seconds", [3600, -3600])
def test_a_clock_that_jumps_neither_hides_a_worker_nor_keeps_a_dead_one(jump_seconds: int) -> None:
    wall, steady = Clock(), Clock()
    workers = WorkerRegistry(wall, steady)
    workers.report("a", "ready")
    wall.now += jump_seconds
    assert workers.ready == 1
    steady.now += SILENT_SECONDS + 1
    assert workers.ready == 0


def test_another_front_reads_what_one_wrote_whatever_their_clocks_say(queue: Queue) -> None:
    ahead = Clock()  # a front whose clock is years ahead
    for report in registry(ahead, a=plan(SVD), b=plan(WAN)).present():
        queue.announcements.write(report)
    found = queue.announcements.read()
    assert {report.worker: report.plan and report.plan.model for report in found} == {
        "a": "demo",
        "b": "demo-wan",
    }
    here = WorkerRegistry()
    here.replace_elsewhere(found)
    assert (here.ready, here.here(), set(here.plans())) == (2, [], {"demo", "demo-wan"})


def test_the_last_report_replaces_the_one_before(queue: Queue) -> None:
    workers = WorkerRegistry()
    queue.announcements.write(workers.report("a", "loading", detail="the UNet", progress=0.5))
    queue.announcements.write(workers.report("a", "failed", failure={"problem": "x", "fix": "y"}))
    (report,) = queue.announcements.read()
    assert (report.state, report.failure, report.detail) == ("failed", {"problem": "x", "fix": "y"}, None)


def test_a_worker_that_is_silent_is_not_read(queue: Queue, url: str) -> None:
    queue.announcements.write(WorkerRegistry().report("a", "ready"))
    database = Database(url)
    with database.writing() as connection:
        late = table.workers.c.reported_at - SILENT_SECONDS - 1
        connection.execute(update(table.workers).values(reported_at=late))
    database.close()
    assert queue.announcements.read() == []


def test_what_is_shown_of_a_worker_holds_no_paths(tmp_path: Path) -> None:
    shown = registry(Clock(), a=plan(SVD, tmp_path)).present()[0].public()
    assert shown["model"] == "demo"
    assert str(tmp_path) not in str(shown)
