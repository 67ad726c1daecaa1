"""No job blocks others, and no innocent job fails: a real front, real processes, and jobs that do harm."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest

from tests.services.worker import testcard
from tests.services.worker.crew import Crew, crew
from tests.support.processes import gone
from tests.support.waiting import wait_for

STALL_SECONDS = 8.0  # also on a machine that is busy with other tests


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crew]:
    with crew(tmp_path_factory.mktemp("crew"), stall_seconds=STALL_SECONDS) as made:
        made.worker = made.start_worker()
        wait_for(lambda: made.state()["state"] == "ready", 60)
        yield made


def held(kit: Crew) -> int:
    """A running job whose GPU process is stopped in the middle, as in a step that takes long; the process."""
    job_id = kit.ask(testcard.SLOW)
    kit.runs(job_id)
    child = kit.child(kit.worker).pid
    os.kill(child, signal.SIGSTOP)
    kit.http.delete(f"/v1/videos/{job_id}")
    return child


def test_three_poison_jobs_in_a_row_delay_the_next_one_by_their_restarts_alone(kit: Crew) -> None:
    before = kit.log().count("loaded in")
    poison = [kit.ask(testcard.IS_KILLED, user=name) for name in "abc"]
    honest = kit.ask()
    seen: set[int] = set()
    while kit.job(honest)["status"] != "completed":
        seen.add(kit.http.get("/readyz").status_code)
        time.sleep(0.05)
        assert kit.job(honest)["status"] != "failed"
    assert seen == {200}, "a job that would be accepted and run"
    assert [kit.job(each)["error"]["code"] for each in poison] == ["worker_lost"] * 3
    assert all("2 times" in kit.job(each)["error"]["message"] for each in poison)
    assert kit.job(honest)["attempt"] == 1
    assert kit.log().count("loaded in") - before == 6
    assert "in a row" not in kit.log(), "a death in a job is no death while loading"


def test_a_job_that_hangs_fails_as_stalled_and_the_next_one_runs(kit: Crew) -> None:
    hangs, waits = kit.ask(testcard.HANGS), kit.ask()
    job = kit.ended(hangs)
    assert job["error"]["code"] == "stalled"
    assert f"nothing moved for {STALL_SECONDS:g} s (encode, " in job["error"]["message"]
    assert (kit.ended(waits)["status"], kit.job(waits)["attempt"]) == ("completed", 1)


def test_a_job_ends_when_it_takes_longer_than_it_was_given_and_the_child_is_kept(kit: Crew) -> None:
    before = kit.child(kit.worker).pid
    job = kit.ended(kit.ask(testcard.SLOW, timeout_seconds=1.5))
    assert job["error"]["code"] == "timed_out"
    assert "longer than 1.5 s" in job["error"]["message"]
    assert kit.child(kit.worker).pid == before


def test_a_job_that_waits_longer_than_it_may_ends_as_expired(kit: Crew) -> None:
    first, second = kit.ask(testcard.SLOW), kit.ask(ttl_seconds=1)
    assert kit.ended(second)["error"]["code"] == "expired"
    assert kit.ended(first)["status"] == "completed", "one that moves may take longer than a stall"


def test_a_job_whose_photo_is_gone_fails_and_the_next_one_runs(kit: Crew) -> None:
    before = kit.child(kit.worker).pid
    first = kit.ask(testcard.SLOW)
    kit.runs(first)
    gone_photo, waits = kit.ask(), kit.ask()
    (kit.data_dir / "jobs" / gone_photo / "input.png").unlink()
    kit.http.post(f"/v1/videos/{first}/cancel")
    assert kit.ended(gone_photo)["error"]["code"] == "input_missing"
    assert kit.ended(waits)["status"] == "completed"
    assert kit.child(kit.worker).pid == before


def test_a_stage_with_a_long_name_is_cut_and_ends_nothing(kit: Crew) -> None:
    job_id = kit.ask(testcard.LONG_STAGE)
    wait_for(lambda: kit.job(job_id)["stage"] == ("decode" * 20)[:64])
    assert kit.ended(job_id)["status"] == "completed"
    assert kit.worker.poll() is None


def test_a_child_that_was_killed_for_a_deleted_job_takes_no_further_one(kit: Crew) -> None:
    killed = held(kit)
    job = kit.ended(kit.ask())
    assert (job["status"], job["attempt"]) == ("completed", 1)
    assert gone(killed)


def test_children_that_are_killed_on_purpose_are_no_deaths(kit: Crew) -> None:
    """As often as a model that cannot be loaded may be tried."""
    for _ in range(4):
        killed = held(kit)
        wait_for(lambda killed=killed: gone(killed))  # type: ignore[misc]
        assert kit.state()["state"] == "ready"
    assert kit.ended(kit.ask())["status"] == "completed"
    assert "while it loaded" not in kit.log()


def test_a_signal_to_the_whole_service_leaves_the_child_to_its_worker(kit: Crew) -> None:
    job_id = kit.ask(testcard.SLOW)
    kit.runs(job_id)
    for number in (signal.SIGTERM, signal.SIGINT):
        os.kill(kit.child(kit.worker).pid, number)
    job = kit.ended(job_id)
    assert (job["status"], job["attempt"]) == ("completed", 1)


def test_a_full_disk_holds_a_job_and_tells_so_and_fails_nobody(kit: Crew) -> None:
    full = kit.folder / "worker-0" / "full"
    full.touch()
    job_id = kit.ask(testcard.DISK_FULL)
    wait_for(lambda: "the disk is full" in (kit.state()["detail"] or ""), 60)
    wait_for(lambda: kit.log().count(f"job {job_id} waits") >= 2, 60)
    assert kit.job(job_id)["status"] in ("queued", "in_progress")
    full.unlink()
    job = kit.ended(job_id)
    assert (job["status"], job["attempt"]) == ("completed", 1)
    wait_for(lambda: "the disk is full" not in (kit.state()["detail"] or ""), 60)
