"""What a key uses is counted whatever becomes of its jobs, and is never more than it may."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest

from services.queue.job import Abilities, Allowance, NewJob, OverAllowance
from services.queue.queue import Queue
from services.queue.usage import DAY_SECONDS, Used

CAN = Abilities(("demo",))
numbers = count()


class Clock:
    now = 20_000 * float(DAY_SECONDS)

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(url: str, clock: Clock) -> Iterator[Queue]:
    queue = Queue(url, clock=clock)
    yield queue
    queue.close()


def ask(queue: Queue, key_id: str | None = "key_a", *, many: int = 1, **limits: object) -> list[str]:
    new = [
        NewJob(id=f"j{next(numbers)}", model="demo", values={}, key_id=key_id, owner=key_id or "")
        for _ in range(many)
    ]
    allowance = None
    if key_id is not None:
        allowance = Allowance(key_id, **{"max_queued": 100, **limits})  # type: ignore[arg-type]
    queue.enqueue_all(new, max_queued=100, allowance=allowance)
    return [each.id for each in new]


def test_each_keys_clips_and_gpu_time_are_counted(queue: Queue, clock: Clock) -> None:
    ask(queue), ask(queue, "key_b", many=2), ask(queue, None)
    for _ in range(4):
        job = queue.claim("w", CAN)
        assert job is not None
        clock.now += 10
        queue.fail(job.id, job.token, code="x", message="", metadata={})
    used = sorted(queue.usage.read(), key=lambda each: str(each.key_id))
    assert used == [Used(None, 1, 10.0), Used("key_a", 1, 10.0), Used("key_b", 2, 20.0)]


def test_deleting_a_job_gives_nothing_back(queue: Queue, clock: Clock) -> None:
    (name,) = ask(queue, clips_per_day=1)
    assert queue.claim("w", CAN) is not None
    clock.now += 7
    queue.delete(name)
    assert queue.usage.read() == [Used("key_a", 1, 7.0)]
    with pytest.raises(OverAllowance) as over:
        ask(queue, clips_per_day=1)
    assert (over.value.kind, over.value.used, over.value.allowed) == ("clips", 1, 1)


def test_a_new_day_begins_with_nothing_used(queue: Queue, clock: Clock) -> None:
    ask(queue, clips_per_day=1)
    with pytest.raises(OverAllowance) as over:
        ask(queue, clips_per_day=1)
    clock.now += over.value.left_seconds + 1
    ask(queue, clips_per_day=1)
    assert queue.usage.read() == [Used("key_a", 1, 0.0)]
    assert queue.usage.read(days=2) == [Used("key_a", 2, 0.0)]


def test_gpu_time_ends_a_keys_day(queue: Queue, clock: Clock) -> None:
    ask(queue, gpu_seconds_per_day=10.0)
    job = queue.claim("w", CAN)
    assert job is not None
    clock.now += 11
    queue.complete(job.id, job.token, content_name="c", metadata={})
    with pytest.raises(OverAllowance, match="gpu_seconds"):
        ask(queue, gpu_seconds_per_day=10.0)
    ask(queue, "key_b", gpu_seconds_per_day=10.0)


def test_one_key_cannot_fill_the_queue_and_half_of_a_batch_is_not_kept(queue: Queue) -> None:
    ask(queue, many=3, max_queued=3)
    with pytest.raises(OverAllowance, match="queued"):
        ask(queue, max_queued=3)
    ask(queue, "key_b", many=2, max_queued=3)
    with pytest.raises(OverAllowance):
        ask(queue, "key_b", many=2, max_queued=3)
    assert queue.counts()["queued"] == 5
    assert {each.key_id: each.clips for each in queue.usage.read()} == {"key_a": 3, "key_b": 2}


def test_a_list_can_be_of_one_key(queue: Queue) -> None:
    mine, theirs = ask(queue, many=3), ask(queue, "key_b")
    found, more = queue.page(key_id="key_a", limit=2)
    assert ([each.id for each in found], more) == ([mine[2], mine[1]], True)
    rest, more = queue.page(key_id="key_a", after=mine[1])
    assert ([each.id for each in rest], more) == ([mine[0]], False)
    assert [each.id for each in queue.page(key_id="key_b")[0]] == theirs


def test_keys_take_turns(queue: Queue) -> None:
    ask(queue, many=3), ask(queue, "key_b", many=1)
    order = []
    for _ in range(4):
        job = queue.claim("w", CAN)
        assert job is not None
        order.append(job.key_id)
        queue.fail(job.id, job.token, code="x", message="", metadata={})
    assert order[:2] == ["key_a", "key_b"]
