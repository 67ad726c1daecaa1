"""What the queue says about who is next and when, on SQLite and on PostgreSQL alike."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest
from sqlalchemy import event

from services.queue import work
from services.queue.job import Abilities, Job, NewJob
from services.queue.queue import Queue
from services.queue.work import Pace, Sample
from tests.services.queue.test_queue import Clock

MODEL = "demo"
CLIP = {"num_frames": 81, "width": 832, "height": 480, "num_inference_steps": 4}  # the typical one
SECONDS_EACH = 0.2  # of a million pixels x steps, in the shop of these tests
BASE_SECONDS = 4.0  # of any clip


class Shop:
    """A queue and its only worker, which takes exactly as long as the work asks for."""

    def __init__(self, url: str) -> None:
        self.clock = Clock()
        self.queue = Queue(url, clock=self.clock)
        self._numbers = count()

    def ask(self, owner: str = "", model: str = MODEL, **fields: object) -> str:
        self.clock.sleep(0.01)
        name, priority = f"{owner or 'job'}-{next(self._numbers)}", int(str(fields.pop("priority", 0)))
        new = NewJob(name, model, CLIP | fields, owner=owner, priority=priority)
        self.queue.enqueue(new, max_queued=1000)
        return name

    def claim(self) -> Job:
        job = self.queue.claim("w", Abilities((MODEL,)))
        assert job is not None
        return job

    def finish(self, job: Job) -> None:
        assert self.queue.complete(job.id, job.token, content_name="content-1.mp4", metadata={})

    def make(self, slowdown: float = 1.0) -> Job:
        """The next job, from its claim to its end."""
        job = self.claim()
        self.clock.sleep(self.takes(job) * slowdown)
        self.finish(job)
        return job

    def takes(self, job: Job) -> float:
        assert job.work is not None
        return BASE_SECONDS + SECONDS_EACH * job.work

    def eta(self, name: str, workers: int = 1) -> float | None:
        """Seconds until it is finished."""
        ends_at = self.queue.line().places(lambda _: workers)[name].ends_at
        return None if ends_at is None else ends_at - self.clock()


@pytest.fixture
def shop(url: str) -> Iterator[Shop]:
    found = Shop(url)
    yield found
    found.queue.close()


def order_of_claims(shop: Shop) -> list[str]:
    found = []
    while (job := shop.queue.claim("w", Abilities((MODEL,)))) is not None:
        shop.clock.sleep(1)
        shop.finish(job)
        found.append(job.id)
    return found


def test_the_line_is_the_order_in_which_jobs_are_given_out(shop: Shop) -> None:
    for owner in ("anna", "anna", "anna", "ben", "", "ben", "cleo"):
        shop.ask(owner)
    shop.make()  # anna's first: she was served
    late = [shop.ask("anna", priority=5), shop.ask("dora"), shop.ask("ben", priority=5)]
    back = shop.claim()
    assert back.id == late[2]
    shop.queue.release(back.id, back.token)
    places = shop.queue.line().places(lambda _: 1)
    in_line = sorted(places, key=lambda name: places[name].position or 0)
    assert [places[name].position for name in in_line] == list(range(1, 10))
    assert order_of_claims(shop) == in_line


@pytest.mark.parametrize("workers", [1, 3])
def test_estimates_are_right_within_a_quarter_after_three_jobs(shop: Shop, workers: int) -> None:
    for frames, steps in ((81, 4), (49, 4), (121, 8)):
        shop.ask(num_frames=frames, num_inference_steps=steps)
        shop.make()
    sizes = [(81, 4), (121, 20), (17, 4), (81, 8), (49, 2), (121, 20), (81, 30)]
    names = [shop.ask(num_frames=frames, num_inference_steps=steps) for frames, steps in sizes]
    jobs = [shop.queue.get(name) for name in names]
    said = [shop.eta(name, workers) for name in names]
    free = [0.0] * workers
    for job, seconds in zip(jobs, said, strict=True):
        assert job is not None and seconds is not None
        free.sort()
        free[0] += shop.takes(job)
        assert seconds == pytest.approx(free[0], rel=0.25)


def test_the_running_job_counts_with_what_is_left_of_it_and_the_estimate_counts_down(shop: Shop) -> None:
    for _ in range(3):
        shop.ask()
        shop.make()
    shop.ask()
    running, waits = shop.claim(), shop.ask()
    whole = shop.takes(running)
    assert shop.eta(waits) == pytest.approx(2 * whole, rel=0.01)
    shop.clock.sleep(whole / 2)
    assert shop.eta(waits) == pytest.approx(1.5 * whole, rel=0.01)
    shop.queue.beat(running.id, running.token, progress=0.9, eta_seconds=3 * whole)  # it is a hard one
    assert shop.eta(waits) == pytest.approx(0.9 * 3 * whole + whole, rel=0.1)
    shop.clock.sleep(whole)
    assert shop.eta(waits) == pytest.approx(0.9 * 2 * whole + whole, rel=0.1)


def test_before_the_first_clip_there_is_a_place_and_no_estimate(shop: Shop) -> None:
    first, second = shop.ask(), shop.ask()
    places = shop.queue.line().places(lambda _: 1)
    assert [places[first].position, places[second].position] == [1, 2]
    assert shop.eta(second) is None


def test_one_slow_clip_does_not_spoil_the_estimate(shop: Shop) -> None:
    for slowdown in (6.0, 1.0, 1.0):  # the first one compiles
        shop.ask()
        job = shop.make(slowdown)
    assert shop.eta(shop.ask()) == pytest.approx(shop.takes(job), rel=0.25)


def test_each_model_has_its_own_line(shop: Shop) -> None:
    shop.ask()
    shop.make()
    other = [shop.ask(model="other"), shop.ask(model="other")]
    mine = shop.ask()
    places = shop.queue.line().places(lambda _: 1)
    assert [places[name].position for name in (*other, mine)] == [1, 2, 1]
    assert shop.eta(other[0]) is None and shop.eta(mine) is not None


def test_a_line_is_read_at_once_however_long_it_is(shop: Shop) -> None:
    def statements() -> int:
        seen: list[str] = []

        def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
            seen.append(statement)

        engine = shop.queue._database._engine
        event.listen(engine, "before_cursor_execute", note)
        shop.queue.line()
        event.remove(engine, "before_cursor_execute", note)
        return sum(statement.startswith("SELECT") for statement in seen)

    shop.ask("anna"), shop.ask("ben")
    few = statements()
    for number in range(60):
        shop.ask(f"owner-{number % 7}")
    assert statements() == few <= 4


def test_work_is_frames_times_pixels_times_steps() -> None:
    one = work.of(CLIP) or 0.0
    assert one == pytest.approx(81 * 832 * 480 * 4 / 1e6)
    assert work.of(CLIP | {"num_inference_steps": 8}) == pytest.approx(2 * one)
    assert work.of(CLIP | {"guidance_scale": 3.5}) == pytest.approx(2 * one)  # two passes a step
    assert work.of({"seed": 1}) is None


def test_a_pace_stays_between_the_same_time_and_the_same_speed() -> None:
    almost_alike = Pace([Sample(1.0, 10.0), Sample(1.001, 14.0), Sample(0.999, 12.0)])
    assert almost_alike.seconds(1.0) == pytest.approx(12.0, rel=0.2)
    assert 12.0 <= (almost_alike.seconds(2.0) or 0) <= 24.1
    assert Pace([Sample(None, 9.0)]).seconds(5.0) == 9.0  # of an older kit, which did not note the work
    assert Pace([]).seconds(5.0) is None
