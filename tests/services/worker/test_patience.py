"""How long a job may take and stand still, and when a worker waits for the front."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from services.worker.patience import Patience
from services.worker.protocol import Claimed, Progress
from services.worker.queue_client import LeaseLost, Refused, RemoteQueue
from tests.support.answering import Asked, serving

ERROR = '{"error": {"code": "%s", "message": "what is wrong"}}'


def job(timeout_seconds: float | None = None) -> Claimed:
    return Claimed(
        id="video_1", token=1, attempt=1, kind="clip", model="demo", values={}, has_input=True,
        stall_seconds=10, timeout_seconds=timeout_seconds,
    )  # fmt: skip


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_another_stage_or_more_progress_is_a_move_and_the_same_again_is_none() -> None:
    clock = Clock()
    patience = Patience(job(), clock)
    for stage, progress, left in (
        ("encode", 0.0, 10),
        ("encode", 0.0, 4),
        ("sample", 0.0, 10),
        ("sample", 0.1, 10),
    ):
        clock.now += 6
        patience.see(Progress(stage=stage, progress=progress))
        assert (patience.left_seconds(), patience.error()) == (left, None)
    clock.now += 10
    error = patience.error()
    assert error is not None and error.code == "stalled"
    assert "nothing moved for 10 s (sample, 10%)" in error.message


def test_a_job_that_never_reports_anything_stalls_too() -> None:
    clock = Clock()
    patience = Patience(job(), clock)
    clock.now += 10
    error = patience.error()
    assert error is not None and error.code == "stalled"


def test_a_job_that_moves_all_the_time_ends_with_its_time() -> None:
    clock = Clock()
    patience = Patience(job(timeout_seconds=25), clock)
    for step in range(3):
        clock.now += 8
        patience.see(Progress(stage="sample", progress=step / 10))
    assert (patience.left_seconds(), patience.error()) == (1, None)
    clock.now += 1
    error = patience.error()
    assert error is not None and error.code == "timed_out"


def beat(tmp_path: Path, *answers: tuple[int, str]) -> bool:
    """What becomes of a beat that is answered so."""
    (tmp_path / "token").write_text("secret")

    async def ask(url: str) -> bool:
        queue = RemoteQueue(url, tmp_path / "token", "box-0")
        try:
            return await queue.beat(job(), None)
        finally:
            await queue.close()

    left = list(answers)

    def answer(asked: Asked) -> None:
        asked.rfile.read(int(asked.headers["Content-Length"]))
        status, body = left.pop(0)
        asked.reply(status, body.encode())

    with serving(answer) as url:
        return asyncio.run(ask(url))


GOOD = (200, '{"cancel": true}')


@pytest.mark.parametrize("status", [408, 429, 502, 503, 504, 507])
def test_a_front_that_cannot_now_is_waited_for(tmp_path: Path, status: int) -> None:
    assert beat(tmp_path, (status, ERROR % "disk_full"), (status, "later"), GOOD)


@pytest.mark.parametrize("status", [404, 400, 500])
def test_what_stands_before_the_front_refuses_nothing(tmp_path: Path, status: int) -> None:
    """A tunnel or a proxy, while the front is away."""
    assert beat(tmp_path, (status, "<html>not found</html>"), GOOD)


@pytest.mark.parametrize(("status", "code"), [(400, "generation_failed"), (410, "input_missing")])
def test_a_verb_that_the_front_refuses_fails_the_job(tmp_path: Path, status: int, code: str) -> None:
    said = "input_missing" if status == 410 else "invalid_value"
    with pytest.raises(Refused, match="what is wrong") as refused:
        beat(tmp_path, (status, ERROR % said))
    assert refused.value.code == code


def test_a_bug_of_the_front_is_tried_again(tmp_path: Path) -> None:
    assert beat(tmp_path, (500, ERROR % "internal"), (500, ERROR % "internal"), GOOD)


def test_a_lease_that_is_lost_is_no_refusal(tmp_path: Path) -> None:
    with pytest.raises(LeaseLost):
        beat(tmp_path, (409, ERROR % "lease_lost"))
