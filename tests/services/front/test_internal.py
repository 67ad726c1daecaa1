"""The worker verbs over HTTP: what the queue promises must hold for the files too."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, event

from services.front.settings import Settings
from tests.services.front.running import WAN, Front, running
from tests.support.waiting import wait_for


def ask(front: Front, prompt: str = "a cat") -> str:
    answer = front.people.post("/v1/videos", json={"prompt": prompt})
    answer.raise_for_status()
    return str(answer.json()["id"])


def test_a_claim_before_there_is_a_model_gets_nothing(bare: Front) -> None:
    assert bare.worker.claim() is None


@pytest.mark.alone
def test_a_waiting_claim_gets_the_job_as_it_comes(wan: Front) -> None:
    got: list[float] = []

    def wait() -> None:
        assert wan.worker.claim(10) is not None
        got.append(time.monotonic())

    waiting = threading.Thread(target=wait)
    waiting.start()
    time.sleep(0.5)
    assert not got
    asked = time.monotonic()
    ask(wan)
    waiting.join(5)
    assert got[0] - asked < 0.5


@pytest.mark.alone
def test_a_claim_waits_as_long_as_it_asked(wan: Front) -> None:
    began = time.monotonic()
    assert wan.worker.claim(1.5) is None
    assert 1.4 < time.monotonic() - began < 3


def test_a_worker_that_has_gone_is_given_nothing(wan: Front) -> None:
    import httpx

    with pytest.raises(httpx.ReadTimeout):
        wan.worker.http.post(
            "/claim", json={"worker": "gone", "models": ["demo-wan"], "wait_seconds": 20}, timeout=0.3
        )
    time.sleep(1.5)  # the front looks once a second
    ask(wan)
    assert wan.worker.claimed("here")["attempt"] == 1


def test_a_claim_says_everything_that_the_job_needs(wan: Front) -> None:
    name = ask(wan)
    job = wan.worker.claimed()
    assert (job["id"], job["token"], job["attempt"], job["has_input"]) == (name, 1, 1, False)
    assert job["values"]["prompt"] == "a cat"
    assert isinstance(job["values"]["seed"], int)


def test_a_zombies_upload_never_replaces_the_winners(wan: Front, clip: bytes) -> None:
    name = ask(wan)
    zombie = wan.worker.claimed("box-0")
    wan.worker.put(zombie, b"zombie's, in time").raise_for_status()
    second = wan.worker.claimed("box-0")  # the same box again: the first attempt is over
    assert wan.worker.put(zombie, b"zombie's, too late").status_code == 409
    assert wan.worker.finish(zombie).status_code == 409
    wan.worker.put(second, clip).raise_for_status()
    wan.worker.finish(second, metadata={"gpu_seconds": 3}).raise_for_status()
    assert wan.worker.put(zombie, b"zombie's, much too late").status_code == 409
    assert wan.people.get(f"/v1/videos/{name}/content").content == clip
    assert [path.name for path in (wan.data_dir / "jobs" / name).iterdir()] == ["content-2.mp4"]
    assert wan.people.get(f"/v1/videos/{name}").json()["metadata"] == {"gpu_seconds": 3}


def test_an_upload_that_loses_its_lease_on_the_way_is_not_kept(wan: Front) -> None:
    name = ask(wan)
    job = wan.worker.claimed("box-0")
    folder = wan.data_dir / "jobs" / name

    def slow() -> object:
        yield b"first half"
        until = time.monotonic() + 10
        while not (folder.is_dir() and list(folder.iterdir())) and time.monotonic() < until:
            time.sleep(0.02)  # until the front has begun to keep it
        wan.worker.claimed("box-0")
        yield b"second half"

    assert wan.worker.put(job, slow()).status_code == 409  # type: ignore[arg-type]
    assert list(folder.iterdir()) == []


def test_an_upload_that_breaks_off_leaves_nothing(wan: Front) -> None:
    folder = wan.data_dir / "jobs" / ask(wan)
    job = wan.worker.claimed()

    def until(there: int) -> bool:
        for _ in range(50):
            if folder.is_dir() and len(list(folder.iterdir())) == there:
                return True
            time.sleep(0.1)
        return False

    def breaks() -> object:
        yield b"first half"
        assert until(1)
        raise RuntimeError("the box is gone")

    with pytest.raises(RuntimeError):
        wan.worker.put(job, breaks())  # type: ignore[arg-type]
    assert until(0)


def test_nothing_is_complete_without_its_content(wan: Front) -> None:
    ask(wan)
    job = wan.worker.claimed()
    answer = wan.worker.finish(job)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "no_content")


def test_a_finish_that_is_sent_twice_is_answered_twice(wan: Front, clip: bytes) -> None:
    ask(wan)
    job = wan.worker.claimed()
    wan.worker.put(job, clip)
    assert [wan.worker.finish(job).status_code for _ in range(2)] == [204, 204]
    assert wan.worker.finish(job, "failed").status_code == 409


def test_a_released_job_runs_again(wan: Front) -> None:
    name = ask(wan)
    job = wan.worker.claimed()
    release = f"/jobs/{name}/release"
    assert wan.worker.http.post(release, json={"token": job["token"]}).status_code == 204
    again = wan.worker.claimed()
    assert (again["id"], again["attempt"], again["token"] > job["token"]) == (name, 1, True)


def test_the_input_is_for_the_holder_only(svd: Front, photo: bytes) -> None:
    svd.people.post("/v1/videos", files={"input_reference": photo})
    job = svd.worker.claimed()
    assert svd.worker.http.get(f"/jobs/{job['id']}/input", params={"token": 99}).status_code == 409


def test_a_job_of_a_lost_worker_is_taken_back_by_the_front_alone(tmp_path: Path) -> None:
    with running(Settings(tmp_path, lease_seconds=1.0)) as front:
        front.plan(WAN)
        name = ask(front)
        began = time.time()
        front.worker.claimed()
        time.sleep(0.5)
        assert front.people.get(f"/v1/videos/{name}").json()["status"] == "in_progress"
        job = front.worker.claimed("box-1")  # it waited meanwhile, and was woken
        assert (job["id"], job["attempt"]) == (name, 2)
        assert 1.0 <= time.time() - began < 4


def test_a_worker_that_was_held_longer_than_its_lease_goes_on_with_its_own_job(
    tmp_path: Path, clip: bytes
) -> None:
    with running(Settings(tmp_path, lease_seconds=0.5)) as front:
        front.plan(WAN)
        name = ask(front)

        def status() -> str:
            return str(front.people.get(f"/v1/videos/{name}").json()["status"])

        job = front.worker.claimed()
        wait_for(lambda: status() == "queued", 60)
        assert front.worker.beat(job, progress=0.5).status_code == 200
        assert status() == "in_progress"
        wait_for(lambda: status() == "queued", 60)
        front.worker.put(job, clip).raise_for_status()  # what is made is never thrown away
        front.worker.finish(job).raise_for_status()
        video = front.people.get(f"/v1/videos/{name}").json()
        assert (video["status"], video["attempt"]) == ("completed", 1)


def test_a_photo_that_is_gone_is_told_to_the_worker(svd: Front, photo: bytes) -> None:
    name = svd.people.post("/v1/videos", files={"input_reference": photo}).json()["id"]
    job = svd.worker.claimed()
    for path in (svd.data_dir / "jobs" / name).iterdir():
        path.unlink()
    answer = svd.worker.http.get(f"/jobs/{name}/input", params={"token": job["token"]})
    assert (answer.status_code, answer.json()["error"]["code"]) == (410, "input_missing")


def test_a_claim_says_how_long_the_job_may_take_and_stand_still(tmp_path: Path, clip: bytes) -> None:
    with running(Settings(tmp_path, stall_seconds=0.02, job_timeout_seconds=50)) as front:
        front.plan(WAN)
        ask(front)
        job = front.worker.claimed()
        assert (job["stall_seconds"], job["timeout_seconds"]) == (0.02, 50)
        time.sleep(0.1)
        front.worker.put(job, clip).raise_for_status()
        front.worker.finish(job).raise_for_status()
        for given, seconds in ((40, 40), (60, 50)):
            body = {"prompt": "a cat", "timeout_seconds": given}
            front.people.post("/v1/videos", json=body).raise_for_status()
            job = front.worker.claimed(f"box-{given}")
            assert job["timeout_seconds"] == seconds
        assert job["stall_seconds"] >= 0.5, "five times what a clip takes"


@pytest.mark.parametrize("name", ["timeout_seconds", "ttl_seconds"])
@pytest.mark.parametrize("value", [0, -1, "soon", True, 1e400, [], 10**9])
def test_a_limit_that_is_none_is_refused(wan: Front, name: str, value: object) -> None:
    body = json.dumps({"prompt": "a cat", name: value}).replace("Infinity", "1e400")
    answer = wan.people.post("/v1/videos", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, name)


def test_a_job_is_given_at_once_to_a_worker_that_waits_for_long(wan: Front) -> None:
    given: list[float] = []

    def wait() -> None:
        wan.worker.claimed()
        given.append(time.monotonic())

    waiting = threading.Thread(target=wait)
    waiting.start()
    time.sleep(2.5)
    asked_at = time.monotonic()
    ask(wan)
    waiting.join(10)
    assert given[0] - asked_at < 0.9  # before a look that comes every second would have found it


def test_a_worker_that_waits_costs_the_queue_nothing(tmp_path: Path) -> None:
    """The database is asked when something happened, not to see whether it did."""
    with running(Settings(tmp_path)) as front:
        front.plan(WAN)
        front.worker.claim()  # opens the queue
        asked = threading.Thread(target=front.worker.claim, args=(4.0,))
        asked.start()
        time.sleep(1.0)
        transactions: list[Connection] = []
        record = transactions.append  # SQLAlchemy knows a listener by its identity
        event.listen(Engine, "begin", record)
        time.sleep(2.5)
        event.remove(Engine, "begin", record)
        asked.join(10)
        assert transactions == []


def test_a_restart_of_the_front_loses_nothing(tmp_path: Path, clip: bytes) -> None:
    with running(Settings(tmp_path)) as before:
        before.plan(WAN)
        name, waiting = ask(before), ask(before)
        job = before.worker.claimed()
        token = before.token
    with running(Settings(tmp_path)) as after:
        assert after.token == token
        assert after.worker.beat(job, progress=0.5).status_code == 200
        after.worker.put(job, clip).raise_for_status()
        after.worker.finish(job).raise_for_status()
        assert after.people.get(f"/v1/videos/{name}").json()["status"] == "completed"
        assert after.people.get(f"/v1/videos/{waiting}").json()["status"] == "queued"


def test_workers_that_are_killed_in_the_middle_lose_no_job(tmp_path: Path, clip: bytes) -> None:
    file = tmp_path / "clip.mp4"
    file.write_bytes(clip)
    program = [sys.executable, str(Path(__file__).with_name("dying_worker.py"))]
    with running(Settings(tmp_path)) as front:
        front.plan(WAN)
        made = [
            front.people.post("/v1/videos", json={"prompt": "a cat", "seed": seed}).json()["id"]
            for seed in range(8)
        ]
        token = (tmp_path / "worker-token").read_text().strip()

        def live(name: str) -> list[int]:
            """Started again whenever it was killed, as the agent does; how each of its lives ended."""
            ends = [1]
            while ends[-1] != 0:
                ends.append(subprocess.run([*program, front.url, token, name, str(file)]).returncode)
            return ends[1:]

        with ThreadPoolExecutor(2) as pool:
            ends = [end for lives in pool.map(live, ("box-0", "box-1")) for end in lives]
        assert ends.count(-signal.SIGKILL) == 4
        videos = [front.people.get(f"/v1/videos/{name}").json() for name in made]
        assert [video["status"] for video in videos] == ["completed"] * 8
        assert [video["attempt"] for video in videos] == [2, 1] * 4
        for name in made:
            assert front.people.get(f"/v1/videos/{name}/content").content == clip
