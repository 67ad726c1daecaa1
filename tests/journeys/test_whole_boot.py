"""From the command to a clip, over real HTTP, with the demo model."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
import time
from pathlib import Path

import av
import pytest

from services.video import metadata
from tests.journeys.conftest import Booted
from tests.journeys.kit import Diary, Kit
from tests.support import photos
from tests.support.waiting import wait_for

ORDER = ["starting", "detecting", "choosing", "fetching", "launching", "loading", "ready"]


def test_the_health_urls_tell_the_boot_in_order(kit: Booted) -> None:
    states = kit.diary.states
    assert states == sorted(states, key=ORDER.index)
    assert states[-2:] == ["loading", "ready"]
    assert kit.diary.pings == [204, 200]


@pytest.mark.alone
def test_nobody_who_comes_after_the_port_is_bound_is_refused(tmp_path: Path) -> None:
    """The port is bound before anything heavy is imported, and early clients wait in its backlog."""
    kit = Kit(tmp_path)
    started_at = time.time()
    kit.start()
    diary = Diary(kit.url)
    try:
        wait_for(lambda: diary.answers, 60)
        log = (kit.data_dir / "logs/agent.log").read_text()
    finally:
        diary.close()
        kit.close()
    line = (
        r"bound ([\d.]+) s after the agent's start, ([\d.]+) s after the command's; answered after ([\d.]+)"
    )
    by_agent, by_command, answered = map(float, re.findall(line, log)[0])
    print(
        f"port bound after {by_agent:.2f} s, of the command {by_command:.2f} s, page after {answered:.2f} s"
    )
    assert by_agent < 0.5
    assert by_command < 5
    assert diary.first_at is not None
    assert diary.first_at - started_at < 15


def test_status_is_whole_and_says_ready_with_its_exit_code(kit: Booted) -> None:
    code, told = kit.status()
    assert code == 0
    assert {key: told[key] for key in ("state", "port", "model", "profile", "service")} == {
        "state": "ready", "port": kit.port, "model": "demo", "profile": "cpu", "service": "api",
    }  # fmt: skip
    assert told["url"].endswith(f":{kit.port}")
    assert Path(told["token_file"]).read_text().strip()


def test_the_tokens_are_read_by_nobody_else(kit: Booted) -> None:
    for name in ("token", "worker-token"):
        assert stat.S_IMODE((kit.data_dir / name).stat().st_mode) == 0o600


def test_nothing_of_the_data_is_read_by_anybody_else(kit: Booted) -> None:
    inside = [each for each in kit.data_dir.rglob("*") if not each.is_symlink()]
    names = {each.name for each in inside}
    assert {"jobs.db", "logs", "front.log", "agent.log", "worker-0.log", "boot.json", "plan.json"} <= names
    open_to_others = [each for each in inside if each.lstat().st_mode & 0o077 and not each.is_socket()]
    assert open_to_others == []


def test_without_the_token_there_is_health_and_nothing_else(kit: Booted) -> None:
    import httpx

    assert httpx.get(f"{kit.url}/healthz", timeout=60).status_code == 200
    assert httpx.get(f"{kit.url}/status", timeout=60).status_code == 401
    assert httpx.get(f"{kit.url}/v1/videos", timeout=60).status_code == 401


def test_no_log_holds_a_token(kit: Booted) -> None:
    kit.http.get(f"/?token={(kit.data_dir / 'token').read_text().strip()}")
    secrets = [(kit.data_dir / name).read_text().strip() for name in ("token", "worker-token")]
    for log in (kit.data_dir / "logs").iterdir():
        assert not any(secret in log.read_text() for secret in secrets), log.name


def test_a_photo_becomes_a_clip_that_decodes_as_it_was_asked_for(kit: Booted, tmp_path: Path) -> None:
    job = kit.ended(kit.ask(seed=7, fps=9, num_frames=14, size="224x128", num_inference_steps=4))
    assert job["status"] == "completed", job
    clip = tmp_path / "clip.mp4"
    answer = kit.http.get(f"/v1/videos/{job['id']}/content")
    assert answer.headers["content-type"] == "video/mp4"
    clip.write_bytes(answer.content)
    with av.open(str(clip)) as container:
        video = container.streams.video[0]
        assert (video.codec_context.name, video.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (video.width, video.height, float(video.average_rate or 0)) == (224, 128, 9.0)
        assert sum(1 for _ in container.decode(video)) == 14
    assert metadata.read(clip).values["seed"] == job["seed"] == 7


def test_generate_uses_the_service_that_runs(kit: Booted, tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(photos.landscape())
    before = kit.http.get("/status").json()["queue"]["completed"]
    done = kit.run(
        "generate", str(tmp_path / "photo.png"), "-o", str(tmp_path / "out.mp4"),
        "--seed", "11", "--motion-bucket-id", "90", "--num-inference-steps", "2", seconds=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(tmp_path / "out.mp4")
    assert "seed 11" in done.stderr
    made = metadata.read(tmp_path / "out.mp4").values
    assert (made["seed"], made["motion_bucket_id"], made["num_inference_steps"]) == (11, 90, 2)
    assert kit.http.get("/status").json()["queue"]["completed"] == before + 1


def test_batch_makes_the_rest_when_one_photo_is_bad_and_resumes(kit: Booted, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a.png").write_bytes(photos.landscape(1))
    (folder / "b.png").write_bytes(photos.landscape(2)[:500])
    (folder / "c.png").write_bytes(photos.landscape(3))
    arguments = ("batch", str(folder), "-o", str(tmp_path / "clips"), "--num-inference-steps", "2")
    first = kit.run(*arguments, seconds=200)
    assert first.returncode == 1
    assert "2 made, 0 skipped, 1 failed" in first.stderr
    assert "b.png" in first.stderr.partition("failed:\n")[2]
    written = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "clips").iterdir()}
    assert sorted(written) == ["a.mp4", "c.mp4"]
    second = kit.run(*arguments, seconds=100)
    assert "0 made, 2 skipped, 1 failed" in second.stderr
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "clips").iterdir()} == written


def test_the_same_command_again_prints_the_link_of_what_runs(kit: Booted) -> None:
    token = (kit.data_dir / "token").read_text().strip()
    for arguments in (kit.up_arguments(), [*kit.up_arguments(), "--detach"]):
        done = kit.run(*arguments)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("already running: http://")
        assert done.stdout.endswith(f":{kit.port}/?token={token}\n")


def test_another_model_in_the_same_folder_is_refused_with_what_runs(kit: Booted) -> None:
    done = kit.run("up", "--model", "svd", "--service", "api", "--port", str(kit.port))
    assert done.returncode == 1
    assert "already runs demo as api" in done.stderr
    assert "not svd as api" in done.stderr
    assert f":{kit.port}" in done.stderr


def test_a_port_that_is_taken_is_told_with_who_holds_it(kit: Booted, tmp_path: Path) -> None:
    other = Kit(tmp_path)
    other.port = kit.port
    done = other.run(*other.up_arguments())
    assert done.returncode == 1
    assert f"port {kit.port} is in use by python" in done.stderr
    assert "--port" in done.stderr


def test_a_killed_front_is_back_at_once_and_the_queue_is_whole(kit: Booted) -> None:
    job_id = kit.ask(num_inference_steps=4)
    diary = Diary(kit.url)
    wait_for(lambda: diary.answers, 10)
    kit.process("services.front.app").kill()
    time.sleep(0.2)
    began = time.monotonic()
    wait_for(lambda: kit.http.get("/healthz").status_code == 200, 30)
    print(f"the front was back after {time.monotonic() - began:.2f} s")
    job = kit.ended(job_id)
    diary.close()
    assert (job["status"], job["attempt"]) == ("completed", 1)
    # the connection that was open when it died is cut; no new one is refused
    assert not any("refused" in each.lower() for each in diary.refused)


@pytest.mark.parametrize("victim", ["services.worker.child", "services.worker.worker"])
def test_a_job_outlives_its_killed_process_and_the_front_never_stops_answering(
    kit: Booted, victim: str
) -> None:
    job_id = kit.ask(num_inference_steps=8)
    diary = Diary(kit.url)
    kit.runs(job_id)
    kit.process(victim).kill()
    job = kit.ended(job_id)
    diary.close()
    assert (job["status"], job["attempt"]) == ("completed", 2), job["error"]
    assert diary.refused == []
    assert diary.slowest_seconds < 5
    assert "killed by signal 9 (SIGKILL)" in "".join(
        log.read_text() for log in (kit.data_dir / "logs").glob("*.log")
    )


def test_help_imports_nothing_heavy_and_knows_every_command() -> None:
    """Seconds depend on the machine; what makes help slow is what it imports."""
    command = [sys.executable, "-X", "importtime", "-m", "services.cli", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ)
    for each in ("up", "down", "status", "logs", "plan", "models", "config", "generate", "batch"):
        assert f" {each} " in done.stdout
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert {"typer", "bootstrap.cli"} <= imported
    assert imported & {"torch", "diffusers", "gradio", "numpy", "av", "PIL", "sqlalchemy", "fastapi"} == set()
