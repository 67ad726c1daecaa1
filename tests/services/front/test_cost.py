"""What a clip costs, and what the box has cost: told by the API, the status and the terminal."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from bootstrap.commands import status
from tests.services.front.running import Front

HOURLY = 3600.0 * 50  # dollars: each second counts


def claim(front: Front, **more: object) -> dict[str, object]:
    asked = {"worker": front.worker.name, "models": front.worker.models, **more}
    answer = front.worker.http.post("/claim", json=asked)
    answer.raise_for_status()
    found: dict[str, object] = answer.json()
    return found


def test_a_video_says_what_it_cost_and_goes_on_saying_it(wan: Front, clip: bytes) -> None:
    made = wan.people.post("/v1/videos", json={"prompt": "a cat"}).json()
    assert made["cost"] is None
    began = time.time()
    job = claim(wan, hourly_cost=HOURLY, gpus=2)
    time.sleep(0.2)
    wan.worker.put(job, clip).raise_for_status()
    wan.worker.finish(job).raise_for_status()
    took = time.time() - began
    cost = wan.people.get(f"/v1/videos/{made['id']}").json()["cost"]
    assert 0.4 <= cost["gpu_seconds"] <= 2 * took
    assert cost["dollars"] == pytest.approx(cost["gpu_seconds"] / 2 * 50, rel=0.01)
    wan.boot(state="ready", hourly_cost=1.0, started_at=began)
    assert wan.people.get(f"/v1/videos/{made['id']}").json()["cost"] == cost


def test_the_status_parts_what_clips_cost_from_the_rest(wan: Front, clip: bytes) -> None:
    assert wan.people.get("/status").json()["cost"] is None, "nobody said what the box costs"
    wan.people.post("/v1/videos", json={"prompt": "a cat"})
    started_at = time.time() - 10
    job = claim(wan, hourly_cost=HOURLY)
    wan.worker.put(job, clip).raise_for_status()
    wan.worker.finish(job).raise_for_status()
    wan.boot(state="ready", hourly_cost=HOURLY, started_at=started_at)
    cost = wan.people.get("/status").json()["cost"]
    assert cost["dollars"] == pytest.approx((time.time() - started_at) * 50, rel=0.2)
    assert 0 < cost["clips_dollars"] < cost["dollars"]
    assert cost["clips_dollars"] + cost["other_dollars"] == pytest.approx(cost["dollars"], abs=0.001)


def test_kinokit_status_says_it_in_words(tmp_path: Path) -> None:
    cost = {"hourly_cost": 2.39, "dollars": 4.78, "clips_dollars": 3.0, "other_dollars": 1.78}
    found = {"state": "ready", "url": None, "failure": None, "cost": cost}
    line = next(line for line in status._lines(found, tmp_path) if line.startswith("cost"))
    assert line.endswith("4.78 USD since the start: 3.00 for clips, 1.78 otherwise (2.39 an hour)")
