"""A request with a key makes its jobs once, on SQLite and on PostgreSQL alike."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count

import pytest
from sqlalchemy import create_engine, select, update

from services.queue import table
from services.queue.job import Abilities, Job, KeyReused, NewJob, Once, QueueFull
from services.queue.queue import Queue

MODEL = "demo"
ONCE = Once("me", "k", "f", 3600)
numbers = count()


@pytest.fixture
def queue(url: str) -> Iterator[Queue]:
    queue = Queue(url)
    yield queue
    queue.close()


def ask(queue: Queue, once: Once | None = ONCE, max_queued: int = 10, **more: object) -> tuple[Job, bool]:
    new = NewJob(id=f"j{next(numbers)}", model=MODEL, values={"seed": 1, "prompt": "a secret"}, **more)  # type: ignore[arg-type]
    return queue.enqueue(new, max_queued=max_queued, once=once)


def test_the_same_key_makes_one_job_whatever_becomes_of_it(queue: Queue) -> None:
    first, is_new = ask(queue)
    assert is_new
    again, is_new = ask(queue)
    assert (again.id, is_new) == (first.id, False)
    running = queue.claim("w", Abilities((MODEL,)))
    assert running is not None
    assert queue.complete(first.id, running.token, content_name="content-1.mp4", metadata={})
    again, is_new = ask(queue)
    assert (again.id, again.status, is_new) == (first.id, "completed", False)


def test_a_key_is_its_callers_and_stands_for_one_request(queue: Queue) -> None:
    first, _ = ask(queue)
    with pytest.raises(KeyReused):
        ask(queue, replace(ONCE, fingerprint="other"))
    other, is_new = ask(queue, replace(ONCE, caller="you"))
    assert is_new
    assert other.id != first.id


def test_a_deleted_job_is_not_made_again_and_none_of_its_words_are_kept(queue: Queue, url: str) -> None:
    first, _ = ask(queue, prompt="a secret", warnings=("a secret",), owner="a secret")
    queue.delete(first.id)
    again, is_new = ask(queue)
    assert (again.id, again.created_at, is_new) == (first.id, first.created_at, False)
    assert (again.status, again.error_code, again.values) == ("failed", "deleted", {"seed": 1})
    engine = create_engine(url)
    with engine.begin() as connection:
        kept = connection.execute(select(table.idempotency)).all()
    engine.dispose()
    assert kept
    assert "a secret" not in str(kept)


def test_a_key_ends_with_its_time_and_goes(queue: Queue, url: str) -> None:
    first, _ = ask(queue)
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(update(table.idempotency).values(expires_at=1.0))
    second, is_new = ask(queue, replace(ONCE, fingerprint="other"))
    assert is_new
    assert second.id != first.id
    with engine.begin() as connection:
        assert len(connection.execute(select(table.idempotency)).all()) == 1
    engine.dispose()


def test_a_new_request_is_made_again_and_its_next_try_finds_it(queue: Queue) -> None:
    fresh = replace(ONCE, is_new=True)
    first, second = ask(queue, fresh)[0], ask(queue, fresh)[0]
    assert first.id != second.id
    retried, is_new = ask(queue)
    assert (retried.id, is_new) == (second.id, False)


def test_the_same_key_at_the_same_time_makes_one_job(queue: Queue) -> None:
    with ThreadPoolExecutor(8) as pool:
        ids = set(pool.map(lambda _: ask(queue, max_queued=1000)[0].id, range(40)))
    assert len(ids) == 1
    assert queue.counts()["queued"] == 1


def test_a_known_key_is_answered_by_a_full_queue_too(queue: Queue) -> None:
    first, _ = ask(queue, max_queued=1)
    assert ask(queue, max_queued=1)[0].id == first.id


def test_what_is_refused_leaves_its_key_free(queue: Queue) -> None:
    with pytest.raises(QueueFull):
        ask(queue, max_queued=0)
    assert ask(queue)[1]


def test_several_jobs_are_kept_together_or_not_at_all(queue: Queue) -> None:
    three = [NewJob(id=f"all-{number}", model=MODEL, values={}) for number in range(3)]
    with pytest.raises(QueueFull):
        queue.enqueue_all(three, max_queued=2, once=ONCE)
    assert queue.counts()["queued"] == 0
    made, is_new = queue.enqueue_all(three, max_queued=3, once=ONCE)
    assert ([job.id for job in made], is_new) == (["all-0", "all-1", "all-2"], True)
    queue.delete("all-1")
    again, is_new = queue.enqueue_all(three, max_queued=3, once=ONCE)
    assert ([job.id for job in again], is_new) == (["all-0", "all-1", "all-2"], False)
    assert [job.error_code for job in again] == [None, "deleted", None]
