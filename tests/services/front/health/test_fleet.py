"""Two fronts on one queue: each knows the other's workers and models."""

from __future__ import annotations

import time
from pathlib import Path

from services.front.settings import Settings
from tests.services.front.running import SVD, WAN, Front, plan, running


def announces(front: Front, model: dict[str, object], state: str = "ready") -> None:
    announced = plan(model).model_dump(mode="json")
    front.worker.models = [str(model["model"])]
    front.worker.says(state, plan=announced, profile=announced["profile"])


def until_ready(front: Front) -> None:
    for _ in range(60):
        if front.anybody.get("/readyz").status_code == 200:
            return
        time.sleep(0.1)
    raise AssertionError("never ready")


def test_a_front_without_a_plan_takes_jobs_in_for_announced_models(tmp_path: Path, clip: bytes) -> None:
    with running(Settings(tmp_path)) as front:
        assert front.people.post("/v1/videos", json={"prompt": "a cat"}).status_code == 503
        announces(front, WAN)
        assert [each["id"] for each in front.people.get("/v1/models").json()["data"]] == ["demo-wan"]
        answer = front.people.post("/v1/videos", json={"prompt": "a cat"})
        assert answer.status_code == 200, answer.text
        assert answer.json()["model"] == "demo-wan"
        assert front.worker.make(clip) == answer.json()["id"]


def test_a_second_front_is_ready_when_a_worker_of_the_first_one_is(tmp_path: Path, clip: bytes) -> None:
    shared = f"sqlite:///{tmp_path / 'shared.db'}"
    with (
        running(Settings(tmp_path / "first", database_url=shared)) as first,
        running(Settings(tmp_path / "second", database_url=shared)) as second,
    ):
        announces(first, WAN)
        until_ready(second)
        status = second.people.get("/status").json()
        assert [(each["worker"], each["model"]) for each in status["workers"]] == [("box-0", "demo-wan")]
        name = second.people.post("/v1/videos", json={"prompt": "a cat"}).json()["id"]
        assert first.worker.claimed()["id"] == name


def test_a_box_with_another_model_never_gets_a_job_that_it_cannot_make(tmp_path: Path, photo: bytes) -> None:
    with running(Settings(tmp_path)) as front:
        front.plan(SVD)
        announces(front, WAN)  # a box of the fleet, with a model that this front has not
        photo_job = front.people.post("/v1/videos", files={"input_reference": photo}).json()
        assert photo_job["model"] == "demo"
        assert front.worker.claim() is None
        asked = {"model": "demo-wan", "prompt": "a cat"}
        prompt_job = front.people.post("/v1/videos", json=asked).json()
        assert front.worker.claimed()["id"] == prompt_job["id"]
        assert front.people.post("/v1/videos", json=asked | {"model": "other"}).status_code == 404


def test_a_front_with_an_agent_is_ready_by_its_own_workers_alone(tmp_path: Path) -> None:
    shared = f"sqlite:///{tmp_path / 'shared.db'}"
    with (
        running(Settings(tmp_path / "first", database_url=shared)) as first,
        running(Settings(tmp_path / "second", database_url=shared)) as second,
    ):
        second.boot(state="launching")
        announces(first, WAN)
        second.people.get("/status")
        time.sleep(2.1)  # it looks every two seconds
        assert len(second.people.get("/status").json()["workers"]) == 1
        assert second.anybody.get("/readyz").json()["state"] == "launching"
