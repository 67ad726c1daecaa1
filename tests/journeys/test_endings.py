"""How it ends: in order, by force, and what is there at the next start."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journeys.kit import Kit
from tests.support.ports import refused
from tests.support.processes import is_alive
from tests.support.waiting import wait_for

pytestmark = pytest.mark.apart


@pytest.fixture
def kit(tmp_path: Path) -> Iterator[Kit]:
    made = Kit(tmp_path)
    yield made
    made.close()


def test_down_leaves_nothing_and_the_next_start_knows_the_old_jobs(kit: Kit) -> None:
    started = kit.run(*kit.up_arguments(), "--detach")
    assert started.returncode == 0, started.stderr
    assert f":{kit.port}/?token=" in started.stdout
    kit.sign_in()
    code, told = kit.status()
    assert (code, told["state"]) == (3, "loading")
    kit.ready()
    job_id = kit.ask(seed=4, num_inference_steps=6)
    kit.runs(job_id)
    everybody = kit.everybody()
    assert len(everybody) == 5  # agent, front, worker, GPU child, and the process that checks photos

    began = time.monotonic()
    assert kit.run("down").returncode == 0
    assert time.monotonic() - began < 10
    assert not any(map(is_alive, everybody))
    assert refused(kit.port)
    assert kit.status()[0] == 1

    assert kit.run(*kit.up_arguments(), "--detach").returncode == 0
    assert kit.job(job_id)["status"] == "queued"
    kit.ready()
    job = kit.ended(job_id)
    assert (job["status"], job["attempt"], job["seed"]) == ("completed", 1, 4)
    logs = kit.run("logs").stdout
    assert "agent: " in logs
    assert "ready after" in logs


def test_ctrl_c_ends_everything_in_the_middle_of_loading(kit: Kit) -> None:
    kit.start()
    assert kit.agent is not None
    wait_for(lambda: kit.status()[1]["state"] == "loading", 60)
    everybody = kit.everybody()
    began = time.monotonic()
    os.kill(kit.agent.pid, signal.SIGINT)
    said, _ = kit.agent.communicate(timeout=30)
    assert time.monotonic() - began < 10
    assert kit.agent.returncode == 0
    assert "stopping" in said
    assert not any(map(is_alive, everybody))
    assert refused(kit.port)


def test_a_killed_agent_takes_everything_along(kit: Kit) -> None:
    kit.start()
    assert kit.agent is not None
    wait_for(lambda: kit.process("services.worker.child"), 60)
    everybody = kit.everybody()
    os.kill(kit.agent.pid, signal.SIGKILL)
    kit.agent.wait(10)
    wait_for(lambda: not any(map(is_alive, everybody)), 3)
    assert kit.status()[1]["state"] == "not running"


def test_a_model_that_does_not_fit_says_so_on_one_screen_and_downloads_nothing(kit: Kit) -> None:
    if _has_gpu():
        pytest.skip("this machine has a GPU; wan22 may fit")
    kit.model = "wan22"
    for flags in ((), ("--detach",)):
        done = kit.run(*kit.up_arguments(), *flags)
        assert done.returncode == 2, done.stderr
        assert "needs an NVIDIA GPU with at least" in done.stderr + done.stdout
        assert "make up MODEL=demo" in done.stderr + done.stdout
        assert len((done.stderr + done.stdout).splitlines()) < 24
    assert list((kit.data_dir / "models").iterdir()) == []
    assert refused(kit.port)


def test_on_a_rented_box_the_page_stays_up_with_the_reason(kit: Kit) -> None:
    if _has_gpu():
        pytest.skip("this machine has a GPU; wan22 may fit")
    kit.model = "wan22"
    done = kit.run(*kit.up_arguments(), "--platform", "vast", "--hourly-cost", "0.4", "--detach")
    assert done.returncode == 0, done.stderr
    wait_for(lambda: kit.http.get("/ping").status_code == 500, 30)
    assert kit.http.get("/readyz").json()["state"] == "failed"
    code, told = kit.status()
    assert code == 1
    assert "needs an NVIDIA GPU" in told["failure"]["problem"]


def test_a_start_in_the_background_with_a_damaged_queue_is_no_success(kit: Kit) -> None:
    kit.data_dir.mkdir(parents=True)
    (kit.data_dir / "jobs.db").write_bytes(b"not a database, and long enough to be told" * 200)
    done = kit.run(*kit.up_arguments(), "--detach", seconds=120)
    assert done.returncode == 1
    assert "the queue's database is damaged" in done.stderr
    assert "`kinokit down` ends it" in done.stderr
    assert kit.http.get("/healthz").status_code == 200


def test_a_kit_that_nobody_uses_ends_itself(kit: Kit) -> None:
    assert kit.run(*kit.up_arguments(), "--detach", "--idle-stop-minutes", "0.05").returncode == 0
    kit.ready()
    wait_for(lambda: refused(kit.port), 30)
    assert kit.status()[1]["state"] == "not running"
    assert "idle for 0.05 minutes" in kit.run("logs").stdout


def test_a_kit_whose_hours_are_over_ends_itself(kit: Kit) -> None:
    config = kit.data_dir.parent / "hours.yaml"
    config.write_text("stop_after_hours: 0.008\n")
    assert kit.run(*kit.up_arguments(), "--detach", "--config", str(config)).returncode == 0
    wait_for(lambda: refused(kit.port), 120)
    assert kit.status()[1]["state"] == "not running"
    assert "0.008 hours are over" in kit.run("logs").stdout


def test_a_model_that_does_not_exist_is_told_with_those_that_do(kit: Kit) -> None:
    kit.model = "sora"
    done = kit.run(*kit.up_arguments())
    assert done.returncode == 1
    assert "there is no model 'sora'" in done.stdout + done.stderr
    assert "demo" in done.stdout + done.stderr


def test_a_data_directory_that_cannot_be_written_is_told_before_anything(kit: Kit, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    kit.data_dir = tmp_path / "file" / "data"
    done = kit.run(*kit.up_arguments())
    assert done.returncode == 1
    assert f"the data directory {kit.data_dir} cannot be used: not a directory" in done.stderr
    assert "--data-dir" in done.stderr


def test_generate_makes_its_own_clip_when_nothing_runs(kit: Kit, tmp_path: Path) -> None:
    from services.video import metadata
    from tests.support import photos

    (tmp_path / "photo.png").write_bytes(photos.landscape())
    output = tmp_path / "out.mp4"
    arguments = ("generate", str(tmp_path / "photo.png"), "-o", str(output), "--model", "demo", "--seed", "5")
    done = kit.run(*arguments, "--num-inference-steps", "2", seconds=200)
    assert done.returncode == 0, done.stderr
    assert metadata.read(output).values["seed"] == 5
    again = kit.run(*arguments)
    assert again.returncode == 1
    assert "is there already" in again.stderr
    assert "--force" in again.stderr


def _has_gpu() -> bool:
    return subprocess.run(["sh", "-c", "test -e /dev/nvidiactl"]).returncode == 0
