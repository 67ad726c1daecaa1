"""What an operator does with many jobs, on SQLite and on PostgreSQL alike."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from services.queue.job import Abilities, Job, NewJob, NotFound, QueueFull
from services.queue.lease_clock import LeaseClock
from services.queue.queue import Queue
from services.queue.selection import NotFailed, Selection

NOW = 1_800_000_000.0
CAN = Abilities(models=("demo",))


class Clock:
    now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(url: str, clock: Clock) -> Iterator[Queue]:
    queue = Queue(url, clock=clock, leases_by=LeaseClock("this boot", clock))
    yield queue
    queue.close()


def put(queue: Queue, job_id: str, **more: object) -> Job:
    new = replace(NewJob(id=job_id, model="demo", values={"seed": 7}), **more)  # type: ignore[arg-type]
    return queue.enqueue(new, max_queued=100)[0]


def fail(queue: Queue) -> Job:
    job = queue.claim("box-0", CAN)
    assert job is not None
    assert queue.fail(job.id, job.token, code="generation_failed", message="no", metadata={"error_id": "x"})
    return job


def test_a_failed_job_runs_again_as_if_it_were_new_under_its_own_id(queue: Queue, clock: Clock) -> None:
    first = put(queue, "a", owner="anna", priority=3)
    failed = fail(queue)
    again = queue.operations.retry("a", max_queued=100)
    assert (again.status, again.attempts, again.error_code, again.completed_at) == ("queued", 0, None, None)
    assert again.metadata == {}
    same = ("number", "id", "model", "values", "owner", "priority", "created_at", "work")
    assert [getattr(again, name) for name in same] == [getattr(first, name) for name in same]
    claimed = queue.claim("box-0", CAN)
    assert claimed is not None
    assert (claimed.id, claimed.attempts) == ("a", 1)
    assert queue.holder("a", failed.token) is None, "the first series has no hold on it any more"


def test_a_cancelled_job_is_not_cancelled_again_when_it_is_retried(queue: Queue) -> None:
    put(queue, "a")
    queue.cancel("a")
    assert not queue.operations.retry("a", max_queued=100).cancel_requested
    job = queue.claim("box-0", CAN)
    assert job is not None
    renewed = queue.beat("a", job.token)
    assert renewed is not None
    assert not renewed.cancel_requested


def test_a_job_that_waited_too_long_has_time_again(queue: Queue, clock: Clock) -> None:
    put(queue, "a", ttl_seconds=10.0)
    clock.now += 60
    queue.take_back()
    assert queue.operations.retry("a", max_queued=100).status == "queued"
    clock.now += 60
    queue.grant_grace()
    queue.take_back()
    assert queue.claim("box-0", CAN) is not None


def test_only_what_failed_is_retried_and_only_where_there_is_room(queue: Queue) -> None:
    put(queue, "a")
    with pytest.raises(NotFailed):
        queue.operations.retry("a", max_queued=100)
    with pytest.raises(NotFound):
        queue.operations.retry("b", max_queued=100)
    fail(queue)
    put(queue, "c")
    with pytest.raises(QueueFull):
        queue.operations.retry("a", max_queued=1)


def test_whoever_was_told_that_it_failed_is_told_how_it_ends(queue: Queue) -> None:
    from services.queue.delivery import NewDelivery

    put(queue, "a", webhook={"url": "https://x.example", "events": []}, webhook_told="")
    fail(queue)
    owed = [NewDelivery(id="m1", event="failed", url="https://x.example", host="x.example", body="{}")]
    queue.deliveries.write(queue.deliveries.owing()[0][0], owed)
    assert queue.deliveries.owing() == ([], False)
    queue.operations.retry("a", max_queued=100)
    fail(queue)
    assert [job.id for job in queue.deliveries.owing()[0]] == ["a"]
    queue.deliveries.write(queue.deliveries.owing()[0][0], [replace(owed[0], id="m2")])
    assert [each.id for each in queue.deliveries.due(limit=5)] == ["m2"]


def test_jobs_are_found_by_state_user_model_and_age(queue: Queue, clock: Clock) -> None:
    put(queue, "old", owner="anna")
    clock.now += 3600
    put(queue, "mine", owner="anna")
    put(queue, "other", owner="bob", model="demo-wan")

    def found(**conditions: object) -> list[str]:
        which = Selection(**conditions)  # type: ignore[arg-type]
        jobs, _ = queue.operations.find(which, limit=10)
        assert queue.operations.count(which) == len(jobs)
        return [job.id for job in jobs]

    assert found() == ["other", "mine", "old"]
    assert found(owner="anna") == ["mine", "old"]
    assert found(model="demo-wan") == ["other"]
    assert found(older_than_seconds=60) == ["old"]
    fail(queue)
    assert found(statuses=("failed",)) == ["old"]
    assert found(statuses=("failed",), older_than_seconds=60) == [], "its age counts from its end"
    page, more = queue.operations.find(Selection(), limit=2)
    assert ([job.id for job in page], more) == (["other", "mine"], True)
    page, more = queue.operations.find(Selection(), limit=2, after="mine")
    assert ([job.id for job in page], more) == (["old"], False)


def test_a_purge_takes_what_was_picked_and_nothing_else(queue: Queue) -> None:
    put(queue, "made")
    job = queue.claim("box-0", CAN)
    assert job is not None
    assert queue.complete(job.id, job.token, content_name="c.mp4", metadata={})
    put(queue, "broken")
    fail(queue)
    put(queue, "waits")
    spared = Selection(("completed", "failed"), only_copied=True)
    assert queue.operations.purge(spared) == ["broken"], "a clip that is nowhere else stays"
    assert sorted(queue.operations.purge(Selection(("completed", "queued")))) == ["made", "waits"]
    assert queue.operations.find(Selection(), limit=10) == ([], False)
