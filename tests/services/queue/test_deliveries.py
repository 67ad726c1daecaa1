"""Webhooks' messages outlive whoever sends them, and are written once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from services.queue.delivery import NewDelivery
from services.queue.job import Abilities, Job, NewJob
from services.queue.queue import Queue
from tests.support.waiting import wait_for

WEBHOOK: dict[str, object] = {"url": "https://studio.example/told", "events": ["video.completed"]}


@pytest.fixture
def queue(url: str) -> Iterator[Queue]:
    found = Queue(url)
    yield found
    found.close()


def message(id: str = "evt_1", event: str = "video.completed", host: str = "studio.example") -> NewDelivery:
    return NewDelivery(id, event, f"https://{host}/told", host, "{}")


def ended(queue: Queue, name: str = "a", webhook: dict[str, object] | None = WEBHOOK) -> Job:
    told = None if webhook is None else ""
    queue.enqueue(NewJob(name, "demo", {}, webhook=webhook, webhook_told=told), max_queued=100)
    job = queue.claim("w", Abilities(("demo",)))
    assert job is not None
    assert queue.complete(name, job.token, content_name="content-1.mp4", metadata={})
    found = queue.get(name)
    assert found is not None
    return found


def test_only_a_job_that_tells_somebody_owes_a_message_until_it_is_written(queue: Queue) -> None:
    job = ended(queue)
    ended(queue, "silent", None)
    new, is_any = queue.deliveries.owing()
    assert ([each.id for each in new], is_any) == (["a"], True)
    queue.deliveries.write(job, [message()])
    assert queue.deliveries.owing() == ([], False)
    waits = NewJob("waits", "demo", {}, webhook=WEBHOOK, webhook_told="")
    queue.deliveries.write(queue.enqueue(waits, max_queued=100)[0], [])
    assert queue.deliveries.owing() == ([], True)
    assert [each.id for each in queue.deliveries.due(limit=9)] == ["evt_1"]


def test_a_message_is_written_once_whoever_writes_it(queue: Queue) -> None:
    job = ended(queue)
    queue.deliveries.write(job, [message("evt_1")])
    queue.deliveries.write(job, [message("evt_2")])
    assert [each.id for each in queue.deliveries.due(limit=9)] == ["evt_1"]


def test_one_front_tries_it_and_a_try_that_was_cut_off_comes_again(queue: Queue) -> None:
    queue.deliveries.write(ended(queue), [message()])
    [due] = queue.deliveries.due(limit=9)
    assert queue.deliveries.take(due.number, lease_seconds=0.5)
    assert not queue.deliveries.take(due.number, lease_seconds=0.5)
    wait_for(lambda: queue.deliveries.due(limit=9))  # nobody came back from the first try
    [again] = queue.deliveries.due(limit=9)
    assert (again.id, again.attempts) == ("evt_1", 1)


def test_a_retry_waits_and_tells_its_job_why(queue: Queue) -> None:
    queue.deliveries.write(ended(queue), [message()])
    [due] = queue.deliveries.due(limit=9)
    queue.deliveries.take(due.number, lease_seconds=30)
    queue.deliveries.retry(due.number, 100.0, 500, "the receiver answered 500")
    assert queue.deliveries.due(limit=9) == []
    left = queue.deliveries.seconds_to_next()
    assert left is not None
    assert 50 < left <= 100
    job = queue.get("a")
    assert job is not None
    assert job.webhook_state == {
        "event": "video.completed",
        "state": "waiting",
        "attempts": 1,
        "last_status": 500,
        "last_error": "the receiver answered 500",
    }


def test_what_has_ended_is_not_tried_unless_somebody_asks(queue: Queue) -> None:
    queue.deliveries.write(ended(queue), [message()])
    [due] = queue.deliveries.due(limit=9)
    queue.deliveries.end(due.number, "failed", 410, "the receiver answered 410")
    assert queue.deliveries.seconds_to_next() is None
    assert queue.deliveries.again("a") is not None
    [again] = queue.deliveries.due(limit=9)
    assert (again.id, again.attempts) == ("evt_1", 0)
    assert queue.deliveries.again("unknown") is None


def test_hosts_that_have_enough_under_way_are_left_out(queue: Queue) -> None:
    queue.deliveries.write(ended(queue, "a"), [message("evt_1", host="slow.example")])
    queue.deliveries.write(ended(queue, "b"), [message("evt_2", host="fast.example")])
    assert [each.id for each in queue.deliveries.due(limit=1, but_not=("slow.example",))] == ["evt_2"]


def test_a_message_outlives_its_job(queue: Queue) -> None:
    queue.deliveries.write(ended(queue), [message()])
    queue.delete("a")
    [due] = queue.deliveries.due(limit=9)
    queue.deliveries.end(due.number, "delivered", 200, None)
    assert queue.deliveries.due(limit=9) == []
