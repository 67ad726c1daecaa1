"""Two fronts on one PostgreSQL: what one takes in the other gives to its workers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from services.front.settings import Settings
from tests.services.front.running import WAN, running
from tests.services.front.test_events import read
from tests.services.postgres import Postgres


@pytest.mark.postgres
def test_a_fleet_shares_one_queue(postgres_url: str, tmp_path: Path, clip: bytes) -> None:
    here = Settings(tmp_path / "here", database_url=postgres_url)
    there = replace(here, data_dir=tmp_path / "there")
    shared = tmp_path / "shared"
    shared.mkdir()
    for settings in (here, there):
        settings.data_dir.mkdir()
        (settings.data_dir / "jobs").symlink_to(shared)
        (settings.data_dir / "token").write_text("one\n")
    with running(here) as first, running(there) as second:
        first.plan(WAN)
        second.plan(WAN)
        name = first.people.post("/v1/videos", json={"prompt": "a cat"}).json()["id"]
        with first.people.stream("GET", f"/v1/videos/{name}/events") as answer:
            assert second.worker.make(clip) == name
            last = [line for line in answer.iter_lines() if line.startswith("data: ")][-1]
        assert json.loads(last.removeprefix("data: "))["status"] == "completed"
        assert first.people.get(f"/v1/videos/{name}/content").content == clip


@pytest.mark.postgres
def test_each_front_sees_how_the_line_moves_at_the_other(postgres_url: str, tmp_path: Path) -> None:
    here = Settings(tmp_path / "here", database_url=postgres_url)
    there = replace(here, data_dir=tmp_path / "there")
    with running(here) as first, running(there) as second:
        first.plan(WAN)
        second.plan(WAN)
        names = [first.people.post("/v1/videos", json={"prompt": "a cat"}).json()["id"] for _ in range(3)]
        with second.people.stream("GET", f"/v1/videos/{names[2]}/events") as answer:
            told = read(answer)
            assert next(told)[1]["queue_position"] == 3
            assert first.worker.claimed()["id"] == names[0]
            assert next(told)[1]["queue_position"] == 2
            first.people.post(f"/v1/videos/{names[1]}/cancel").raise_for_status()
            assert next(told)[1]["queue_position"] == 1


def test_a_database_that_is_away_stops_neither_health_nor_the_start(tmp_path: Path) -> None:
    nowhere = "postgresql+psycopg://user:sesame@127.0.0.1:1/jobs"
    with running(Settings(tmp_path, database_url=nowhere)) as front:
        front.plan(WAN)
        assert front.anybody.get("/healthz").status_code == 200
        answer = front.people.post("/v1/videos", json={"prompt": "a cat"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "database_away")
        assert "sesame" not in answer.text


@pytest.mark.postgres
def test_a_database_that_comes_back_finds_everybody_at_work(
    postgres_server: Postgres, postgres_url: str, tmp_path: Path, clip: bytes
) -> None:
    with running(Settings(tmp_path, database_url=postgres_url)) as front:
        front.plan(WAN)
        name = front.people.post("/v1/videos", json={"prompt": "a cat"}).json()["id"]
        job = front.worker.claimed()
        postgres_server.stop()
        try:
            assert front.worker.beat(job).status_code == 503
            assert front.people.get(f"/v1/videos/{name}").json()["error"]["code"] == "database_away"
            assert front.anybody.get("/healthz").status_code == 200
        finally:
            postgres_server.start()
        assert front.worker.beat(job, progress=0.5).status_code == 200
        front.worker.put(job, clip).raise_for_status()
        front.worker.finish(job).raise_for_status()
        video = front.people.get(f"/v1/videos/{name}").json()
        assert (video["status"], video["attempt"]) == ("completed", 1)
