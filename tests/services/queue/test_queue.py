"""What the queue promises, on SQLite and on PostgreSQL alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import count

import pytest
from sqlalchemy.exc import OperationalError

from services.queue.job import (
    LEASE_SECONDS,
    MAX_INTERRUPTIONS,
    Abilities,
    DatabaseDown,
    Job,
    NewJob,
    NotFound,
    QueueFull,
)
from services.queue.lease_clock import LeaseClock
from services.queue.queue import Queue

MODEL = "demo"


@dataclass
class Clock:
    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(url: str, clock: Clock) -> Iterator[Queue]:
    queue = opened(url, clock)
    yield queue
    queue.close()


def opened(url: str, clock: Clock, era: str = "this boot") -> Queue:
    return Queue(url, clock=clock, leases_by=LeaseClock(era, clock))


@pytest.fixture
def ask(queue: Queue, clock: Clock) -> Callable[..., Job]:
    """Queues one job a second, named by its id."""
    numbers = count()

    def ask(name: str | None = None, **fields: object) -> Job:
        clock.sleep(1)
        new = NewJob(id=name or f"job-{next(numbers)}", model=MODEL, values={"seed": 1}, **fields)  # type: ignore[arg-type]
        return queue.enqueue(new, max_queued=1000)[0]

    return ask


def claim(queue: Queue, clock: Clock, worker: str = "w") -> Job | None:
    clock.sleep(1)
    return queue.claim(worker, Abilities((MODEL,)))


def claimed(queue: Queue, clock: Clock, worker: str = "w") -> Job:
    job = claim(queue, clock, worker)
    assert job is not None
    return job


def known(queue: Queue, name: str) -> Job:
    job = queue.get(name)
    assert job is not None
    return job


def finish(queue: Queue, job: Job) -> None:
    assert queue.complete(job.id, job.token, content_name="content-1.mp4", metadata={})


def test_a_job_keeps_what_was_asked(queue: Queue, ask: Callable[..., Job]) -> None:
    ask("a", prompt="ein Ⓧ 猫", warnings=("one",), input_name="input.jpg", remixed_from="video_0", owner="me")
    job = queue.get("a")
    assert job is not None
    assert (job.status, job.values, job.prompt, job.warnings) == ("queued", {"seed": 1}, "ein Ⓧ 猫", ["one"])
    assert (job.input_name, job.remixed_from, job.owner) == ("input.jpg", "video_0", "me")


def test_a_claim_leases_the_oldest_job(queue: Queue, clock: Clock, ask: Callable[..., Job]) -> None:
    ask("a"), ask("b")
    job = claimed(queue, clock)
    assert (job.id, job.status, job.worker, job.token, job.attempts) == ("a", "in_progress", "w", 1, 1)
    assert job.lease_until == clock.now + LEASE_SECONDS


def test_an_empty_queue_gives_nothing(queue: Queue, clock: Clock) -> None:
    assert claim(queue, clock) is None


def test_a_worker_gets_no_job_of_another_model(queue: Queue, ask: Callable[..., Job]) -> None:
    ask()
    assert queue.claim("w", Abilities(("wan22",))) is None


def test_a_lease_that_ran_out_runs_again_before_younger_jobs(
    queue: Queue, clock: Clock, ask: Callable[..., Job]
) -> None:
    ask("old"), ask("young")
    first = claimed(queue, clock, "lost")
    clock.sleep(LEASE_SECONDS + 1)
    assert queue.take_back() == 1
    again = claimed(queue, clock, "other")
    assert (again.id, again.token, again.attempts) == ("old", first.token + 1, 2)


def test_it_is_known_how_long_nothing_ends(queue: Queue, clock: Clock, ask: Callable[..., Job]) -> None:
    assert queue.left_seconds() is None
    ask(), ask()
    assert queue.left_seconds() is None
    first, second = claimed(queue, clock, "a"), claimed(queue, clock, "b")
    assert queue.left_seconds() == LEASE_SECONDS - 1
    queue.beat(first.id, first.token)
    assert queue.left_seconds() == LEASE_SECONDS
    finish(queue, first)
    finish(queue, second)
    assert queue.left_seconds() is None


def test_a_beat_keeps_the_lease(queue: Queue, clock: Clock, ask: Callable[..., Job]) -> None:
    ask()
    job = claimed(queue, clock)
    for _ in range(5):
        clock.sleep(LEASE_SECONDS - 1)
        assert queue.beat(job.id, job.token, progress=0.5, stage="sample", eta_seconds=3) is not None
        assert queue.take_back() == 0
    seen = queue.get(job.id)
    assert seen is not None
    assert (seen.progress, seen.stage, seen.eta_seconds) == (0.5, "sample", 3)


def test_a_worker_that_claims_again_lost_what_it_held(
    queue: Queue, clock: Clock, ask: Callable[..., Job]
) -> None:
    ask("a"), ask("b")
    claimed(queue, clock, "w")
    again = claimed(queue, clock, "w")  # restarted within its own lease
    assert (again.id, again.attempts) == ("a", 2)


def test_a_zombie_can_do_nothing_to_the_second_run(
    queue: Queue, clock: Clock, ask: Callable[..., Job]
) -> None:
    ask()
    zombie = claimed(queue, clock, "paused")
    clock.sleep(LEASE_SECONDS + 1)
    second = claimed(queue, clock, "other")
    assert queue.holder(zombie.id, zombie.token) is None
    assert queue.beat(zombie.id, zombie.token, progress=0.9) is None
    assert not queue.complete(zombie.id, zombie.token, content_name="content-1.mp4", metadata={})
    assert not queue.fail(zombie.id, zombie.token, code="x", message="x", metadata={})
    assert not queue.release(zombie.id, zombie.token)
    assert queue.complete(second.id, second.token, content_name="content-2.mp4", metadata={"gpu": "b"})
    done = queue.get(second.id)
    assert done is not None
    assert (done.status, done.content_name, done.metadata) == ("completed", "content-2.mp4", {"gpu": "b"})


def test_a_zombie_cannot_change_what_is_finished(queue: Queue, clock: Clock, ask: Callable[..., Job]) -> None:
    ask()
    job = claimed(queue, clock)
    finish(queue, job)
    assert not queue.fail(job.id, job.token, code="x", message="x", metadata={})
    assert queue.beat(job.id, job.token) is None


def test_a_job_in_which_two_children_died_fails_and_the_next_one_runs(
    queue: Queue, clock: Clock, ask: Callable[..., Job]
) -> None:
    ask("poison"), ask("good")
    for attempt in (1, 2):
        job = claimed(queue, clock)
        assert (job.id, job.attempts, job.deaths) == ("poison", attempt, attempt - 1)
        assert queue.bury(job.id, job.token, reason="was killed by signal 11")
        assert not queue.bury(job.id, job.token, reason="sent twice")
    assert claimed(queue, clock).id == "good"
    poison = known(queue, "poison")
    assert (poison.status, poison.error_code) == ("failed", "worker_lost")
    assert "was killed by signal 11, 2 times" in (poison.error_message or "")
    assert poison.completed_at is not None


def test_a_lost_worker_is_no_fault_of_the_job_until_far_too_many_are(
    queue: Queue, clock: Clock, ask: Callable[..., Job]
) -> None:
    ask("unlucky")
    for lost in range(MAX_INTERRUPTIONS):
        job = claimed(queue, clock, f"w{lost}")
        assert (job.interruptions, job.deaths) == (lost, 0)
        clock.sleep(LEASE_SECONDS + 1)
        queue.take_back()
    job = known(queue, "unlucky")
    assert (job.status, job.error_code) == ("failed", "worker_lost")
    assert f"{MAX_INTERRUPTIONS} times" in (job.error_message or "")


def test_a_job_that_was_interrupted_twice_goes_behind_those_that_wait_and_before_those_that_come(
    queue: Queue, clock: Clock, ask: Callable[..., Job]
) -> None:
    ask("unlucky"), ask("waits")
    for lost in range(2):
        assert claimed(queue, clock, f"w{lost}").id == "unlucky"
        clock.sleep(LEASE_SECONDS + 1)
        queue.take_back()
    ask("comes")
    assert [claimed(queue, clock, name).id for name in "abc"] == ["waits", "unlucky", "comes"]


def test_a_beat_takes_its_own_job_back_as_long_as_nobody_else_has_it(
    queue: Queue, clock: Clock, ask: Callable[..., Job]
) -> None:
    ask("a")
    job = claimed(queue, clock)
    clock.sleep(LEASE_SECONDS * 3)
    assert queue.take_back() == 1
    assert known(queue, "a").status == "queued"
    again = queue.beat(job.id, job.token, progress=0.5)
    assert again is not None
    assert (again.status, again.attempts, again.interruptions, again.worker) == ("in_progress", 1, 0, "w")
    clock.sleep(LEASE_SECONDS * 3)
    assert queue.take_back() == 1
    finish(queue, job)  # what is made is never thrown away, either
    assert known(queue, "a").status == "completed"


def test_a_late_beat_does_not_take_back_what_its_worker_gave_back(
    queue: Queue, clock: Clock, ask: Callable[..., Job]
) -> None:
    ask("a")
    job = claimed(queue, clock)
    assert queue.release(job.id, job.token)
    assert queue.beat(job.id, job.token) is None
    assert known(queue, "a").status == "queued"


def test_a_job_of_an_earlier_boot_of_the_machine_gets_grace_and_is_taken_back_after_it(
    url: str, clock: Clock
) -> None:
    before = opened(url, clock)
    new = NewJob(id="a", model=MODEL, values={}, ttl_seconds=100.0)
    for each in (new, replace(new, id="b")):
        before.enqueue(each, max_queued=10)
    claimed(before, clock)
    before.close()
    rebooted = Clock(5.0)  # monotonic time began anew
    after = Queue(url, clock=clock, leases_by=LeaseClock("next boot", rebooted))
    after.grant_grace()
    assert after.take_back() == 0
    rebooted.sleep(LEASE_SECONDS + 1)
    assert after.take_back() == 1
    rebooted.sleep(100)
    assert after.take_back() == 1
    assert (known(after, "a").status, known(after, "b").error_code) == ("queued", "expired")
    after.close()


@pytest.mark.parametrize("jump_seconds", [3600, -3600])
def test_a_clock_that_jumps_neither_ends_a_lease_nor_keeps_a_dead_one(url: str, jump_seconds: int) -> None:
    wall, monotonic = Clock(), Clock(100.0)
    queue = Queue(url, clock=wall, leases_by=LeaseClock("this boot", monotonic))
    for name in ("a", "b"):
        queue.enqueue(NewJob(id=name, model=MODEL, values={}, ttl_seconds=60.0), max_queued=10)
    assert queue.claim("w", Abilities((MODEL,))) is not None
    wall.sleep(jump_seconds)
    assert queue.take_back() == 0
    monotonic.sleep(LEASE_SECONDS + 1)
    assert queue.take_back() == 1
    assert [known(queue, name).status for name in ("a", "b")] == ["queued", "queued"]
    queue.close()


def test_a_job_that_waited_longer_than_it_may_ends_as_expired_and_one_that_began_does_not(
    queue: Queue, clock: Clock, ask: Callable[..., Job]
) -> None:
    ask("begun", ttl_seconds=10.0), ask("late", ttl_seconds=10.0), ask("patient")
    job = claimed(queue, clock)
    left = queue.left_seconds()
    assert left is not None and 0 < left < 10
    clock.sleep(20)
    assert queue.release(job.id, job.token)
    assert [claimed(queue, clock, name).id for name in "ab"] == ["begun", "patient"]
    late = known(queue, "late")
    assert (late.status, late.error_code) == ("failed", "expired")


def test_after_an_outage_nothing_is_taken_back_that_could_not_be_renewed(
    queue: Queue, clock: Clock, ask: Callable[..., Job]
) -> None:
    ask("a")
    job = claimed(queue, clock)
    with pytest.raises(DatabaseDown), queue._database.writing():
        raise OperationalError("beat", {}, Exception("the server is away"))
    clock.sleep(LEASE_SECONDS * 3)
    assert queue.take_back() == 0
    assert claim(queue, clock, "other") is None
    assert queue.beat(job.id, job.token) is not None
    clock.sleep(LEASE_SECONDS + 1)
    assert queue.take_back() == 1


def test_a_job_that_is_given_back_keeps_its_place_and_its_attempts(
    queue: Queue, clock: Clock, ask: Callable[..., Job]
) -> None:
    ask("a"), ask("b")
    tokens = []
    for _ in range(5):
        job = claimed(queue, clock)
        assert (job.id, job.attempts) == ("a", 1)
        tokens.append(job.token)
        assert queue.release(job.id, job.token)
    assert tokens == sorted(set(tokens))  # the fence grows all the same


def test_a_queued_job_is_cancelled_at_once_and_never_runs(
    queue: Queue, clock: Clock, ask: Callable[..., Job]
) -> None:
    ask("a")
    job = queue.cancel("a")
    assert (job.status, job.error_code) == ("failed", "cancelled")
    assert claim(queue, clock) is None


def test_a_running_job_hears_of_its_cancel_with_the_next_beat(
    queue: Queue, clock: Clock, ask: Callable[..., Job]
) -> None:
    ask("a")
    job = claimed(queue, clock)
    assert queue.cancel("a").status == "in_progress"
    beaten = queue.beat(job.id, job.token)
    assert beaten is not None
    assert beaten.cancel_requested


def test_a_cancelled_job_whose_worker_died_does_not_run_again(
    queue: Queue, clock: Clock, ask: Callable[..., Job]
) -> None:
    ask("a")
    claimed(queue, clock)
    queue.cancel("a")
    clock.sleep(LEASE_SECONDS + 1)
    assert claim(queue, clock) is None
    job = queue.get("a")
    assert job is not None
    assert (job.status, job.error_code) == ("failed", "cancelled")


def test_a_cancelled_job_that_a_worker_gives_back_does_not_run_again(
    queue: Queue, clock: Clock, ask: Callable[..., Job]
) -> None:
    ask("a")
    job = claimed(queue, clock)
    queue.cancel("a")
    assert queue.release(job.id, job.token)
    assert claim(queue, clock) is None


def test_a_cancel_changes_nothing_that_is_finished(
    queue: Queue, clock: Clock, ask: Callable[..., Job]
) -> None:
    ask("a")
    finish(queue, claimed(queue, clock))
    assert queue.cancel("a").status == "completed"


def test_one_owner_cannot_keep_the_others_waiting(
    queue: Queue, clock: Clock, ask: Callable[..., Job]
) -> None:
    for number in range(4):
        ask(f"a{number}", owner="a")
    ask("b0", owner="b"), ask("b1", owner="b")
    order = []
    while (job := claim(queue, clock)) is not None:
        order.append(job.id)
        finish(queue, job)
    assert order == ["a0", "b0", "a1", "b1", "a2", "a3"]


def test_a_higher_priority_goes_first(queue: Queue, clock: Clock, ask: Callable[..., Job]) -> None:
    ask("low"), ask("high", priority=5)
    assert claimed(queue, clock).id == "high"


def test_an_interrupted_job_goes_before_an_owner_who_waits(
    queue: Queue, clock: Clock, ask: Callable[..., Job]
) -> None:
    ask("a", owner="a"), ask("b", owner="b")
    claimed(queue, clock, "lost")
    clock.sleep(LEASE_SECONDS + 1)
    assert claimed(queue, clock, "other").id == "a"


def test_every_job_is_given_to_one_worker_only(queue: Queue) -> None:
    for number in range(40):
        queue.enqueue(NewJob(id=f"j{number}", model=MODEL, values={}), max_queued=1000)

    def work(worker: int) -> list[str]:
        mine = []
        while (job := queue.claim(f"w{worker}", Abilities((MODEL,)))) is not None:
            mine.append(job.id)
            finish(queue, job)
        return mine

    with ThreadPoolExecutor(8) as pool:
        done = [job for jobs in pool.map(work, range(8)) for job in jobs]
    # A claim may find nothing while others hold the rows it wants: the next one takes them.
    done += work(9)
    assert sorted(done) == sorted(f"j{number}" for number in range(40))


def test_a_full_queue_says_how_full(queue: Queue) -> None:
    for number in range(3):
        queue.enqueue(NewJob(id=f"j{number}", model=MODEL, values={}), max_queued=3)
    with pytest.raises(QueueFull) as full:
        queue.enqueue(NewJob(id="one-too-many", model=MODEL, values={}), max_queued=3)
    assert full.value.queued == 3
    assert queue.get("one-too-many") is None


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_pages_hold_every_job_once_while_others_come_and_go(
    queue: Queue, ask: Callable[..., Job], order: str
) -> None:
    for number in range(7):
        ask(f"j{number}")
    seen, after, more = [], None, True
    while more:
        jobs, more = queue.page(after=after, limit=3, order=order)  # type: ignore[arg-type]
        seen += [job.id for job in jobs]
        after = seen[-1]
        queue.delete(seen[0]) if len(seen) == 3 else ask()
    before = [job for job in seen if job.startswith("j") and "-" not in job]
    expected = [f"j{number}" for number in range(7)]
    assert before == (expected if order == "asc" else expected[::-1])


def test_a_page_after_an_unknown_job_is_an_error(queue: Queue) -> None:
    with pytest.raises(NotFound):
        queue.page(after="nobody")


def test_a_deleted_job_is_gone_for_its_worker_too(
    queue: Queue, clock: Clock, ask: Callable[..., Job]
) -> None:
    ask("a")
    job = claimed(queue, clock)
    queue.delete("a")
    assert queue.beat(job.id, job.token) is None
    with pytest.raises(NotFound):
        queue.delete("a")
    with pytest.raises(NotFound):
        queue.cancel("a")


def test_a_number_is_never_given_twice(queue: Queue, ask: Callable[..., Job]) -> None:
    first = ask("a").number
    queue.delete("a")
    assert ask("b").number > first


def test_only_what_ended_long_ago_loses_its_files_and_once(
    queue: Queue, clock: Clock, ask: Callable[..., Job]
) -> None:
    ask("old")
    finish(queue, claimed(queue, clock))
    ended = clock.now
    clock.sleep(100)
    ask("new"), ask("waiting")
    finish(queue, claimed(queue, clock))
    old = queue.expiry.ended(before=ended + 50, only_copied=False)
    assert old == ["old"]
    assert queue.expiry.ended(before=ended + 50, only_copied=True) == []
    assert queue.expiry.ended(before=ended + 50, only_copied=False, but_not=["old"]) == []
    queue.expiry.expire("old")
    assert queue.expiry.ended(before=ended + 50, only_copied=False) == []
    queue.forget(old)
    assert queue.missing(["old", "new", "waiting"]) == {"old"}


def test_a_restart_of_the_front_loses_nothing(url: str, clock: Clock) -> None:
    before = opened(url, clock)
    for name in ("running", "waiting"):
        before.enqueue(NewJob(id=name, model=MODEL, values={"seed": 7}), max_queued=10)
    running = claimed(before, clock)
    before.close()
    clock.sleep(LEASE_SECONDS * 4)  # nobody could beat meanwhile
    after = opened(url, clock)
    after.grant_grace()
    assert after.take_back() == 0
    assert after.beat(running.id, running.token) is not None
    assert claimed(after, clock, "other").id == "waiting"
    after.close()


def test_many_fronts_may_start_at_the_same_moment(url: str) -> None:
    with ThreadPoolExecutor(6) as pool:
        queues = list(pool.map(lambda _: Queue(url), range(6)))
    for number, queue in enumerate(queues):
        queue.enqueue(NewJob(id=f"j{number}", model=MODEL, values={}), max_queued=10)
    assert queues[0].counts()["queued"] == 6
    for queue in queues:
        queue.close()


def test_the_figures_are_those_of_the_jobs(queue: Queue, clock: Clock, ask: Callable[..., Job]) -> None:
    assert queue.typical_seconds(MODEL) is None
    for seconds in (10, 20):
        ask()
        job = claimed(queue, clock)
        clock.sleep(seconds)
        finish(queue, job)
    ask(), ask()
    last = ask()
    assert queue.typical_seconds(MODEL) == 15
    assert queue.ahead(last) == 2
    assert queue.counts() == {"queued": 3, "in_progress": 0, "completed": 2, "failed": 0}


def test_a_worker_gets_only_what_it_can_make(queue: Queue, ask: Callable[..., Job]) -> None:
    ask("large", min_vram_gib=80.0)
    ask("join", kind="join", parent="film")
    ask("clip")
    small = Abilities((MODEL,), vram_gib=24.0)
    job = queue.claim("small", small)
    assert job is not None
    assert (job.id, job.kind, job.parent) == ("clip", "clip", None)
    assert queue.claim("small-2", small) is None
    assert queue.claim("without", Abilities((MODEL,))) is None
    joiner = queue.claim("joiner", Abilities((MODEL,), kinds=("join",)))
    assert joiner is not None
    assert (joiner.id, joiner.parent) == ("join", "film")
    large = queue.claim("large", Abilities(("other", MODEL), vram_gib=80.0))
    assert large is not None
    assert (large.id, large.min_vram_gib) == ("large", 80.0)


def test_a_worker_of_no_model_gets_nothing(queue: Queue, ask: Callable[..., Job]) -> None:
    ask("clip")
    assert queue.claim("w", Abilities(())) is None


def test_a_job_costs_what_all_its_attempts_took_at_the_price_of_their_time(
    queue: Queue, ask: Callable[..., Job], clock: Clock
) -> None:
    ask("a")
    box = replace(Abilities((MODEL,)), gpus=2, hourly_cost=3.6)
    first = queue.claim("w", box)
    assert first is not None
    assert (first.gpu_seconds, first.dollars) == (None, None), "it has only begun"
    clock.sleep(10)
    assert queue.release("a", first.token)
    clock.sleep(1000)  # nobody works for it
    dearer = queue.claim("w", replace(box, hourly_cost=36.0))
    assert dearer is not None
    clock.sleep(5)
    assert queue.complete("a", dearer.token, content_name="c.mp4", metadata={})
    done = queue.get("a")
    assert done is not None
    assert (done.gpu_seconds, round(done.dollars or 0, 6)) == (30.0, 0.06)


def test_a_worker_that_was_not_heard_of_is_counted_until_it_hands_in(
    queue: Queue, ask: Callable[..., Job], clock: Clock
) -> None:
    ask("a")
    job = queue.claim("w", replace(Abilities((MODEL,)), hourly_cost=3600.0))
    assert job is not None
    clock.sleep(LEASE_SECONDS + 1)
    queue.take_back()
    clock.sleep(9)
    assert queue.complete("a", job.token, content_name="c.mp4", metadata={})
    done = queue.get("a")
    assert done is not None
    assert (done.gpu_seconds, done.dollars) == (LEASE_SECONDS + 10, LEASE_SECONDS + 10)


def test_where_nobody_knows_a_price_a_job_has_none(
    queue: Queue, ask: Callable[..., Job], clock: Clock
) -> None:
    ask("a"), ask("b")
    job = queue.claim("w", Abilities((MODEL,)))
    assert job is not None
    clock.sleep(10)
    queue.fail("a", job.token, code="x", message="x", metadata={})
    failed, waits = queue.get("a"), queue.cancel("b")
    assert failed is not None
    assert (failed.gpu_seconds, failed.dollars) == (10.0, None), "what failed took its time as well"
    assert (waits.gpu_seconds, waits.dollars) == (None, None)


def test_a_clock_that_is_set_back_gives_no_time_back(
    queue: Queue, ask: Callable[..., Job], clock: Clock
) -> None:
    ask("a")
    job = queue.claim("w", Abilities((MODEL,)))
    assert job is not None
    clock.sleep(-3600)
    queue.fail("a", job.token, code="x", message="x", metadata={})
    failed = queue.get("a")
    assert failed is not None
    assert failed.gpu_seconds == 0.0
