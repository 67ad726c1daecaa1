"""Progress as server-sent events."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from services.front.openai import events
from tests.services.front.running import Front


def read(answer: httpx.Response) -> Iterator[tuple[str, dict[str, Any]]]:
    kind = ""
    for line in answer.iter_lines():
        if line.startswith("event: "):
            kind = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield kind, json.loads(line.removeprefix("data: "))
        elif line.startswith(":"):
            yield "comment", {}


def test_one_event_a_change_until_the_video_is_done(wan: Front, clip: bytes) -> None:
    name = wan.people.post("/v1/videos", json={"prompt": "a cat"}).json()["id"]
    with wan.people.stream("GET", f"/v1/videos/{name}/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        told = read(answer)
        assert next(told)[1]["status"] == "queued"
        job = wan.worker.claimed()
        assert next(told)[1]["status"] == "in_progress"
        for progress in (0.25, 0.5):
            wan.worker.beat(job, progress=progress, stage="sample", eta_seconds=9)
            kind, video = next(told)
            assert (kind, video["progress"], video["stage"]) == ("video", progress * 100, "sample")
        wan.worker.put(job, clip)
        wan.worker.finish(job)
        assert [(kind, video["status"]) for kind, video in told] == [("done", "completed")]


def test_a_finished_video_is_one_event(wan: Front, clip: bytes) -> None:
    wan.people.post("/v1/videos", json={"prompt": "a cat"})
    answer = wan.people.get(f"/v1/videos/{wan.worker.make(clip)}/events")
    assert [kind for kind, _ in read(answer)] == ["done"]


def test_a_deleted_video_ends_the_stream(wan: Front) -> None:
    name = wan.people.post("/v1/videos", json={"prompt": "a cat"}).json()["id"]
    with wan.people.stream("GET", f"/v1/videos/{name}/events") as answer:
        told = read(answer)
        next(told)
        wan.people.delete(f"/v1/videos/{name}")
        assert [kind for kind, _ in told] == ["deleted"]


def test_a_quiet_stream_is_kept_alive(wan: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "KEEP_ALIVE_SECONDS", 0.1)
    name = wan.people.post("/v1/videos", json={"prompt": "a cat"}).json()["id"]
    with wan.people.stream("GET", f"/v1/videos/{name}/events") as answer:
        told = read(answer)
        assert [next(told)[0], next(told)[0]] == ["video", "comment"]


def test_a_change_by_another_front_is_seen_too(wan: Front) -> None:
    from services.queue.queue import Queue

    name = wan.people.post("/v1/videos", json={"prompt": "a cat"}).json()["id"]
    with wan.people.stream("GET", f"/v1/videos/{name}/events") as answer:
        told = read(answer)
        next(told)
        other = Queue(f"sqlite:///{wan.data_dir / 'jobs.db'}")
        other.cancel(name)
        other.close()
        assert next(told)[1]["error"]["code"] == "cancelled"


def test_an_unknown_video_has_no_events(wan: Front) -> None:
    assert wan.people.get("/v1/videos/video_0/events").status_code == 404
