"""What the health routes say, from an empty directory to a failed boot."""

from __future__ import annotations

import socket
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from bootstrap import data_directory
from bootstrap.errors import KitError
from bootstrap.launch import health
from services.front.health import boot_state
from services.front.settings import Settings
from services.queue import workers
from services.queue.workers import Report, State
from tests.services.front.running import SVD, Front, running
from tests.support.waiting import wait_for


def codes(front: Front) -> tuple[int, int, int]:
    return tuple(front.anybody.get(path).status_code for path in ("/healthz", "/readyz", "/ping"))  # type: ignore[return-value]


def test_the_states_in_their_order(bare: Front) -> None:
    assert codes(bare) == (200, 503, 204)
    for state in ("detecting", "choosing", "fetching", "launching", "loading"):
        bare.boot(state=state)
        assert bare.anybody.get("/readyz").json()["state"] == state
        assert codes(bare) == (200, 503, 204)
    bare.worker.says("loading", progress=0.5, detail="the UNet")
    assert codes(bare) == (200, 503, 204)
    bare.worker.says("ready")
    assert codes(bare) == (200, 200, 200)
    assert bare.anybody.get("/readyz").json()["state"] == "ready"
    bare.boot(state="stopping")
    assert codes(bare) == (200, 503, 204)


def test_not_ready_says_when_to_ask_again(bare: Front) -> None:
    assert int(bare.anybody.get("/readyz").headers["retry-after"]) > 0


def test_a_failed_boot_is_failed_whatever_a_worker_says(bare: Front) -> None:
    bare.boot(state="failed", failure={"problem": "no GPU", "fix": "rent one", "phase": "choose"})
    bare.worker.says("ready")
    assert codes(bare) == (200, 503, 500)


def test_the_agents_word_is_not_enough(bare: Front) -> None:
    bare.boot(state="ready")
    assert bare.anybody.get("/readyz").json()["state"] == "loading"


def test_a_worker_that_fell_silent_is_not_ready(bare: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    bare.boot(state="launching")
    bare.worker.says("ready")
    assert bare.anybody.get("/readyz").status_code == 200
    monkeypatch.setattr(workers, "SILENT_SECONDS", 0.2)
    time.sleep(0.3)
    assert bare.anybody.get("/readyz").status_code == 503


def test_progress_is_of_the_phase_that_runs(bare: Front) -> None:
    phases = [
        {"name": "detect", "state": "done"},
        {"name": "fetch", "state": "running", "bytes_done": 25, "bytes_total": 100, "detail": "/data/secret"},
    ]
    bare.boot(state="fetching", phases=phases, url="http://1.2.3.4:5", model="wan22")
    answer = bare.anybody.get("/readyz")
    assert answer.json() == {"state": "fetching", "phase": "fetch", "progress": 0.25}


def test_whoever_watches_a_rented_box_sees_how_long_its_download_takes(bare: Front) -> None:
    link = {"bytes_per_second": 7.5e6, "remaining_bytes": 37_000_000_000, "eta_seconds": 4900.0}
    slow = {"code": "slow_link", "problem": "the download comes at 60 Mbit/s", "fix": "/data/secret"}
    bare.boot(state="fetching", link=link, findings=[slow])
    assert bare.anybody.get("/readyz").json()["download"] == {**link, "is_slow": True}
    bare.boot(state="fetching", link=link)
    assert bare.anybody.get("/readyz").json()["download"]["is_slow"] is False
    bare.boot(state="loading", link=None)
    assert "download" not in bare.anybody.get("/readyz").json()


def test_the_workers_loading_is_the_phase_load(bare: Front) -> None:
    bare.boot(state="launching", phases=[{"name": "launch", "state": "done"}])
    bare.worker.says("loading", progress=0.4, detail="the UNet")
    load = bare.people.get("/status").json()["boot"]["phases"][-1]
    assert (load["name"], load["state"], load["progress"], load["detail"]) == (
        "load",
        "running",
        0.4,
        "the UNet",
    )
    bare.worker.says("ready", timings={"load_seconds": 3.5}, profile="resident")
    status = bare.people.get("/status").json()
    load = status["boot"]["phases"][-1]
    assert (load["state"], load["ended_at"] >= load["started_at"]) == ("done", True)
    worker = status["workers"][0]
    assert (worker["profile"], worker["timings"]) == ("resident", {"load_seconds": 3.5, "spans": []})


def test_a_worker_that_failed_to_load_says_why(bare: Front) -> None:
    bare.boot(state="launching")
    bare.worker.says("failed", failure={"problem": "out of memory", "fix": "a larger card"})
    boot = bare.people.get("/status").json()["boot"]
    assert (boot["state"], boot["phases"][-1]["detail"]) == ("failed", "out of memory")
    assert boot["failure"] == {
        "problem": "out of memory",
        "fix": "a larger card",
        "phase": "load",
        "ends": False,
    }
    assert bare.anybody.get("/ping").status_code == 500


BOOT, LOAD = {"problem": "no GPU", "phase": "choose"}, {"problem": "it died", "phase": "load"}
DISK = KitError("the database is damaged", fix="move it away")


@pytest.mark.parametrize(
    ("written", "failure", "workers", "queue_failure", "state", "problem"),
    [
        ("starting", None, [], None, "starting", None),
        ("starting", None, ["ready"], None, "ready", None),  # a front without an agent
        ("detecting", None, ["ready"], None, "detecting", None),  # of the run before
        ("fetching", None, ["loading"], None, "fetching", None),
        ("launching", None, ["loading"], None, "launching", None),
        ("loading", None, ["loading"], None, "loading", None),
        ("loading", None, ["loading", "ready"], None, "ready", None),
        ("loading", None, ["failed", "ready"], None, "ready", None),
        ("loading", None, ["failed", "loading"], None, "loading", None),
        ("loading", None, ["failed", "failed"], None, "failed", "out of memory"),
        ("ready", None, ["ready"], None, "ready", None),
        ("ready", None, ["loading"], None, "loading", None),  # its child died, or the worker
        ("ready", None, [], None, "loading", None),
        ("ready", None, ["failed"], None, "failed", "out of memory"),
        ("ready", None, ["ready"], DISK, "failed", "the database is damaged"),
        ("failed", BOOT, ["ready"], None, "failed", "no GPU"),
        ("failed", LOAD, [], None, "failed", "it died"),
        ("failed", LOAD, ["loading"], None, "failed", "it died"),
        ("failed", LOAD, ["ready"], None, "ready", None),  # it was tried again
        ("stopping", None, ["ready"], None, "stopping", None),
        ("stopping", LOAD, ["ready"], None, "failed", "it died"),
    ],
)
def test_one_rule_says_how_the_kit_stands(
    written: str,
    failure: dict[str, str] | None,
    workers: list[State],
    queue_failure: KitError | None,
    state: str,
    problem: str | None,
) -> None:
    why = {"problem": "out of memory", "fix": "a larger card"}
    reports = [
        Report(f"box-{number}", each, 0.0, 0.0, failure=why if each == "failed" else None)
        for number, each in enumerate(workers)
    ]
    found, reason = boot_state.state_of({"state": written, "failure": failure}, reports, queue_failure)
    assert (found, reason and reason["problem"]) == (state, problem)


def test_half_a_boot_document_is_no_error(bare: Front) -> None:
    (bare.data_dir / "boot.json").write_text('{"state": "fetch')
    assert codes(bare) == (200, 503, 204)


def test_status_holds_everything(svd: Front) -> None:
    svd.boot(state="launching", model="demo", hourly_cost=0.5)
    status = svd.people.get("/status").json()
    assert status["boot"]["hourly_cost"] == 0.5
    assert status["plan"]["model"] == SVD["model"]
    wait_for(lambda: svd.people.get("/status").json()["queue"]["queued"] == 0)


def test_a_database_that_takes_long_hides_nothing_else(tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "jobs.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")  # the queue cannot be opened meanwhile
    with closing(other), running(Settings(tmp_path)) as front:
        front.boot(state="fetching", model="demo")
        status = front.people.get("/status").json()
        assert (status["boot"]["state"], status["queue"]) == ("fetching", None)
        other.execute("ROLLBACK")
        wait_for(lambda: front.people.get("/status").json()["queue"]["queued"] == 0)


def test_many_who_ask_for_the_status_at_once_are_all_answered(svd: Front) -> None:
    def asks(_: int) -> int:
        return svd.people.get("/status", timeout=60).status_code

    with ThreadPoolExecutor(16) as people:
        assert set(people.map(asks, range(200))) == {200}


def test_the_boot_page_is_a_200_with_a_mark(bare: Front) -> None:
    # Proxies of marketplaces replace a 5xx with a page of their own.
    answer = bare.people.get("/")
    assert (answer.status_code, answer.headers["x-kinokit-boot"]) == (200, "1")
    assert answer.headers["content-type"].startswith("text/html")


def test_a_containers_check_asks_where_the_agent_says_that_it_listens(bare: Front) -> None:
    env = {"KINOKIT_DATA_DIR": str(bare.data_dir), "KINOKIT_PORT": "1"}  # a file or a flag may say otherwise
    assert not health.check(env)  # no agent has begun
    data_directory.write_record(bare.data_dir, local_url=bare.url)
    assert health.check(env)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
    data_directory.write_record(bare.data_dir, local_url=f"http://127.0.0.1:{port}")
    assert not health.check(env)


def test_a_container_asks_the_box_of_its_platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable names the data directory in the kit's images: the platform does, or a file of settings."""
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as front:
        threading.Thread(target=_say_ok, args=(front, 3), daemon=True).start()
        url = f"http://127.0.0.1:{front.getsockname()[1]}"
        for folder, env in (
            ("image", {"KINOKIT_PLATFORM": "docker", "KINOKIT_VOLUME": str(tmp_path / "image")}),
            ("vast/kinokit", {"PLATFORM": "vast", "DATA_DIRECTORY": str(tmp_path / "vast")}),
            ("file", {"KINOKIT_CONFIG": str(tmp_path / "own.yaml")}),
        ):
            (tmp_path / folder).mkdir(parents=True)
            (tmp_path / "own.yaml").write_text(f"data_dir: {tmp_path / 'file'}\n")
            assert not health.check(env)
            data_directory.write_record(tmp_path / folder, local_url=url)
            assert health.check(env), folder


def _say_ok(front: socket.socket, times: int) -> None:
    for _ in range(times):
        asking, _address = front.accept()
        with asking:
            asking.recv(1000)
            asking.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
