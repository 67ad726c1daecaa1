"""What a worker promises: a real front, real processes, and an engine that makes every kind of trouble."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import av
import pytest

from bootstrap.choose.manifest import File
from bootstrap.errors import KitError
from bootstrap.launch import arrivals
from services.video import metadata
from tests.services.worker import testcard
from tests.services.worker.crew import Crew, crew, end
from tests.support.processes import gone
from tests.support.waiting import wait_for


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crew]:
    """One front and one worker for all tests of this file that leave them as they were."""
    with crew(tmp_path_factory.mktemp("crew")) as made:
        made.worker = made.start_worker()
        wait_for(lambda: made.state()["state"] == "ready")
        yield made


def test_a_job_becomes_a_clip_with_its_parameters_in_it(kit: Crew, tmp_path: Path) -> None:
    job = kit.ended(kit.ask(seed=42, num_frames=25, fps=12))
    assert job["status"] == "completed", job
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(kit.http.get(f"/v1/videos/{job['id']}/content").content)
    with av.open(str(clip)) as container:
        video = container.streams.video[0]
        frames = sum(1 for _ in container.decode(video))
        assert (frames, video.width, video.height, float(video.average_rate or 0)) == (25, 128, 64, 12.0)
    assert metadata.read(clip).values["seed"] == 42


def test_each_stage_and_the_memory_are_measured(kit: Crew) -> None:
    made = kit.ended(kit.ask())["metadata"]
    assert {"encode_seconds", "sample_seconds", "decode_seconds", "total_seconds"} <= set(made["timings"])
    assert made["timings"]["sample_seconds"] >= 2 * testcard.STEP_SECONDS
    assert made["timings"]["total_seconds"] >= made["timings"]["sample_seconds"]
    assert made["peak_memory_bytes"] > 1024**2
    assert made["frames"] == 14


def test_progress_grows_and_has_an_end_in_sight(kit: Crew) -> None:
    job_id = kit.ask(testcard.SLOW)
    wait_for(lambda: kit.job(job_id)["progress"] > 10)
    first = kit.job(job_id)
    assert first["stage"] == "sample"
    assert 0 < first["eta_seconds"] < 60
    wait_for(lambda: kit.job(job_id)["progress"] > first["progress"])
    kit.http.post(f"/v1/videos/{job_id}/cancel")
    kit.ended(job_id)


def test_out_of_memory_fails_the_job_with_the_numbers_and_keeps_the_child(kit: Crew) -> None:
    before = kit.child(kit.worker).pid
    job = kit.ended(kit.ask(testcard.OUT_OF_MEMORY))
    assert job["error"]["code"] == "out_of_memory"
    assert "2.00 GiB more were wanted, 23.0 of 24.0 GiB" in job["error"]["message"]
    assert kit.ended(kit.ask())["status"] == "completed"
    assert kit.child(kit.worker).pid == before


def test_a_bug_is_told_by_a_number_under_which_the_log_has_it(kit: Crew) -> None:
    job = kit.ended(kit.ask(testcard.BUG))
    assert job["error"]["code"] == "generation_failed"
    number = job["metadata"]["error_id"]
    assert number in job["error"]["message"]
    assert f"error {number}" in kit.log()
    assert "ZeroDivisionError: a bug" in kit.log()


def test_a_problem_of_the_user_is_told_with_its_fix(kit: Crew) -> None:
    job = kit.ended(kit.ask(testcard.PROBLEM))
    assert "the photo is too dark; give a lighter one" in job["error"]["message"]


def test_a_polite_cancel_keeps_the_child(kit: Crew) -> None:
    before = kit.child(kit.worker).pid
    job_id = kit.ask(testcard.SLOW)
    kit.runs(job_id)
    kit.http.post(f"/v1/videos/{job_id}/cancel")
    assert kit.ended(job_id, 5)["error"]["code"] == "cancelled"
    assert kit.child(kit.worker).pid == before


def test_a_child_that_does_not_hear_the_cancel_is_killed(kit: Crew) -> None:
    job_id = kit.ask(testcard.HANGS)
    kit.runs(job_id)
    before = kit.child(kit.worker).pid
    kit.http.post(f"/v1/videos/{job_id}/cancel")
    assert kit.ended(job_id, 12)["error"]["code"] == "cancelled"
    assert gone(before)
    assert kit.ended(kit.ask())["status"] == "completed"


def test_a_deleted_job_is_stopped(kit: Crew) -> None:
    job_id = kit.ask(testcard.SLOW)
    kit.runs(job_id)
    assert kit.http.delete(f"/v1/videos/{job_id}").is_success
    assert kit.ended(kit.ask(), 8)["status"] == "completed"


def test_the_job_of_a_killed_child_is_run_again(kit: Crew) -> None:
    job_id = kit.ask(testcard.SLOW)
    kit.runs(job_id)
    kit.child(kit.worker).kill()
    job = kit.ended(job_id, 40)
    assert (job["status"], job["attempt"]) == ("completed", 2)
    assert "killed by signal 9 (SIGKILL)" in kit.log()


def test_a_job_that_kills_every_child_fails_and_the_next_one_runs(kit: Crew) -> None:
    job = kit.ended(kit.ask(testcard.IS_KILLED), 40)
    assert job["error"]["code"] == "worker_lost"
    assert "SIGKILL" in job["error"]["message"]
    assert "2 times" in job["error"]["message"]
    assert kit.ended(kit.ask())["status"] == "completed"


def test_a_front_that_goes_away_during_a_job_loses_nothing(kit: Crew) -> None:
    job_id = kit.ask(testcard.SLOW)
    kit.runs(job_id)
    front = kit.processes[0]
    end(front, signal.SIGKILL)
    kit.processes[0] = kit.start_front()
    job = kit.ended(job_id, 40)
    assert (job["status"], job["attempt"]) == ("completed", 1)


def test_a_worker_that_is_told_to_stop_gives_its_job_back(tmp_path: Path) -> None:
    with crew(tmp_path) as kit:
        worker = kit.start_worker()
        job_id = kit.ask(testcard.SLOW)
        kit.runs(job_id)
        child = kit.child(worker).pid
        assert end(worker) < 6
        assert gone(child)
        assert kit.job(job_id)["status"] == "queued"
        kit.start_worker("worker-1")
        job = kit.ended(job_id)
        assert (job["status"], job["attempt"]) == ("completed", 1)


def test_a_killed_worker_takes_its_child_along_and_its_job_is_run_again(tmp_path: Path) -> None:
    with crew(tmp_path) as kit:
        worker = kit.start_worker()
        job_id = kit.ask(testcard.SLOW)
        kit.runs(job_id)
        child = kit.child(worker).pid
        end(worker, signal.SIGKILL)
        wait_for(lambda: gone(child), 3)
        kit.start_worker()
        job = kit.ended(job_id)
        assert (job["status"], job["attempt"]) == ("completed", 2)


def test_a_model_that_cannot_be_loaded_is_told_with_its_reason(tmp_path: Path) -> None:
    with crew(tmp_path) as kit:
        kit.start_worker(load="problem")
        wait_for(lambda: kit.state()["state"] == "failed")
        failure = kit.state()["failure"]
        assert failure == {"problem": "the checkpoint lacks a key", "fix": "fetch it again"}


def test_a_child_that_dies_whenever_it_loads_is_given_up_with_its_reason(tmp_path: Path) -> None:
    with crew(tmp_path) as kit:
        kit.start_worker(load="killed")
        wait_for(lambda: kit.state()["state"] == "failed", 40)
        assert "SIGKILL" in kit.state()["failure"]["problem"]


def test_the_worker_imports_no_torch(kit: Crew) -> None:
    maps = Path(f"/proc/{kit.worker.pid}/maps").read_text()
    assert "libtorch" not in maps
    assert "numpy" not in maps


def test_a_worker_is_ready_when_the_last_file_is_there_whether_it_was_loaded_or_not(tmp_path: Path) -> None:
    files = [File(path=name, bytes=1) for name in ("a.safetensors", "README.md")]
    record = arrivals.Record(tmp_path / "arrivals.json", files, tmp_path)
    with crew(tmp_path) as kit:
        kit.start_worker(arrivals=tmp_path / "arrivals.json")
        record.add(tmp_path / "a.safetensors")
        wait_for(lambda: kit.state()["detail"] == "waiting for the weights")
        record.add(tmp_path / "README.md")
        wait_for(lambda: kit.state()["state"] == "ready")


def test_a_download_that_fails_is_the_workers_failure_and_no_death(tmp_path: Path) -> None:
    record = arrivals.Record(tmp_path / "arrivals.json", [File(path="a", bytes=1)], tmp_path)
    with pytest.raises(KitError), record:
        raise KitError("the licence was not accepted", fix="accept it")
    with crew(tmp_path) as kit:
        kit.start_worker(arrivals=tmp_path / "arrivals.json")
        wait_for(lambda: kit.state()["state"] == "failed")
        assert kit.state()["failure"] == {"problem": "the licence was not accepted", "fix": "accept it"}
        assert "in a row" not in kit.log()
