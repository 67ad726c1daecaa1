"""``/v1/queue`` and ``kinokit queue``: whoever runs the box sees what waits and acts on it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bootstrap import data_directory
from tests.services.front.running import Front


def ask(front: Front, **fields: Any) -> str:
    answer = front.people.post("/v1/videos", json={"prompt": "a cat", "num_frames": 17, **fields})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def fail(front: Front) -> str:
    job = front.worker.claimed()
    error = {"code": "generation_failed", "message": "it broke"}
    front.worker.finish(job, "failed", error=error).raise_for_status()
    return str(job["id"])


def kinokit(
    front: Front, *arguments: str, typed: str = "", env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """As somebody far away: by address, with the token in the environment."""
    given = {
        **os.environ,
        "COLUMNS": "200",
        "KINOKIT_TOKEN": front.token,
        "PYTHONPATH": str(Path.cwd()),
        **(env or {}),
    }
    command = [sys.executable, "-m", "services.cli", "queue", *arguments, "--url", front.url]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=given, input=typed)


def test_a_failed_video_is_made_after_all_where_its_owner_looks_for_it(wan: Front, clip: bytes) -> None:
    made = ask(wan, seed=7, user="anna")
    fail(wan)
    again = wan.people.post(f"/v1/videos/{made}/retry").json()
    assert (again["id"], again["status"], again["error"]) == (made, "queued", None)
    assert wan.worker.make(clip) == made
    video = wan.people.get(f"/v1/videos/{made}").json()
    assert (video["status"], video["seed"]) == ("completed", 7)
    assert wan.people.get(f"/v1/videos/{made}/content").content == clip


def test_a_retry_that_cannot_be_says_why(svd: Front, photo: bytes) -> None:
    assert svd.people.post("/v1/videos/video_no/retry").json()["error"]["code"] == "not_found"
    files = {"input_reference": ("a.jpg", photo)}
    made = svd.people.post("/v1/videos", files=files).json()["id"]
    refused = svd.people.post(f"/v1/videos/{made}/retry")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "not_failed")
    fail(svd)
    for file in (svd.data_dir / "jobs" / made).glob("input*"):
        file.unlink()
    refused = svd.people.post(f"/v1/videos/{made}/retry")
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "content_missing")


def test_a_retry_waits_for_room_as_a_new_video_does(wan: Front) -> None:
    made = ask(wan)
    fail(wan)
    for _ in range(5):
        ask(wan)
    refused = wan.people.post(f"/v1/videos/{made}/retry")
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "queue_full")
    assert "retry-after" in refused.headers


def test_a_purge_says_how_many_before_it_deletes_them_with_their_files(wan: Front, clip: bytes) -> None:
    first, waits = ask(wan, user="anna"), ask(wan, user="bob")
    wan.worker.make(clip)
    asked = {"status": ["completed", "queued"], "user": "anna"}
    assert wan.people.post("/v1/queue/purge", json=asked).json() == {"matched": 1, "purged": 0}
    assert wan.people.get(f"/v1/videos/{first}").status_code == 200
    done = wan.people.post("/v1/queue/purge", json={**asked, "confirm": True}).json()
    assert done == {"matched": 1, "purged": 1}
    assert wan.people.get(f"/v1/videos/{first}").status_code == 404
    assert not (wan.data_dir / "jobs" / first).exists()
    assert wan.people.get(f"/v1/videos/{waits}").status_code == 200


def test_what_runs_is_never_purged(wan: Front) -> None:
    refused = wan.people.post("/v1/queue/purge", json={"status": ["in_progress"], "confirm": True})
    assert refused.status_code == 400


def test_the_queue_is_its_operators_alone(wan: Front) -> None:
    assert wan.anybody.get("/v1/queue/jobs").status_code == 401
    assert wan.anybody.post("/v1/queue/purge", json={"status": ["queued"]}).status_code == 401


def test_an_operator_sees_and_acts_from_a_terminal(wan: Front) -> None:
    broken, waits = ask(wan, user="anna"), ask(wan, user="bob")
    fail(wan)
    table = kinokit(wan, "list")
    assert table.returncode == 0, table.stderr
    lines = {line.split()[0]: line for line in table.stdout.splitlines()[1:]}
    assert "generation_failed: it broke" in lines[broken]
    assert "bob" in lines[waits]
    only = kinokit(wan, "list", "--state", "failed", "--user", "anna", "--json")
    assert [job["id"] for job in json.loads(only.stdout)] == [broken]
    assert "it broke" in kinokit(wan, "show", broken).stdout
    assert json.loads(kinokit(wan, "show", broken, "--json").stdout)["id"] == broken

    done = kinokit(wan, "cancel", waits)
    assert (done.returncode, done.stdout.split()) == (0, [waits, "failed"])
    both = kinokit(wan, "retry", broken, "video_no", waits)
    assert both.returncode == 1, "one was refused"
    assert "there is no video 'video_no'" in both.stderr
    assert [line.split()[1] for line in both.stdout.splitlines()] == ["queued", "queued"]

    assert kinokit(wan, "pause").returncode == 0
    assert wan.worker.claim() is None
    assert kinokit(wan, "resume").returncode == 0

    left = kinokit(wan, "purge", "--state", "queued", typed="n\n")
    assert (left.returncode, "forget 2 jobs" in left.stderr) == (1, True)
    assert "2 jobs forgotten" in kinokit(wan, "purge", "--state", "queued", typed="y\n").stdout
    assert json.loads(kinokit(wan, "purge", "--state", "queued", "--yes", "--json").stdout) == {"purged": 0}


def test_the_service_of_the_data_directory_needs_no_address(wan: Front) -> None:
    made = ask(wan)
    lock = data_directory.occupy(wan.data_dir)
    try:
        data_directory.write_record(
            wan.data_dir,
            pid=os.getpid(),
            local_url=wan.url,
            auth=True,
            token_file=str(wan.data_dir / "token"),
        )
        command = [sys.executable, "-m", "services.cli", "queue", "list", "--json"]
        done = subprocess.run(
            [*command, "--data-dir", str(wan.data_dir)], capture_output=True, text=True, timeout=60
        )
    finally:
        lock.close()
    assert done.returncode == 0, done.stderr
    assert [job["id"] for job in json.loads(done.stdout)] == [made]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("list", "--state", "broken"), "--state 'broken' is none of the states"),
        (("list", "--older-than", "soon"), "--older-than 'soon' is no length of time"),
        (("show", "../status"), "'../status' is no id of a video"),
        (("list", "--token", "wrong"), "this token is not right"),
    ],
)
def test_mistakes_are_told_with_what_to_do(wan: Front, arguments: tuple[str, ...], told: str) -> None:
    done = kinokit(wan, *arguments)
    assert done.returncode == 1
    assert told in done.stderr
    assert "fix: " in done.stderr
    assert "Traceback" not in done.stderr


def test_no_service_is_told(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "services.cli", "queue", "list"]
    done = subprocess.run([*command, "--data-dir", str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, "no service runs in" in done.stderr) == (1, True)
