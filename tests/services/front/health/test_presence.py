"""What counts as use of the box, for the idle stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from services.front.health.presence import Presence
from tests.services.front.running import Front
from tests.support.waiting import wait_for

UNATTENDED = {"X-Kinokit-Unattended": "1"}


def unused_seconds(front: Front) -> float:
    return float(front.people.get("/status", headers=UNATTENDED).json()["unused_seconds"])


@pytest.mark.parametrize("path", ["/status", "/v1/videos", "/v1/models", "/"])
def test_a_person_or_a_program_that_asks_uses_the_box(svd: Front, path: str) -> None:
    time.sleep(0.5)
    assert unused_seconds(svd) >= 0.5
    svd.people.get(path)
    assert unused_seconds(svd) < 0.5


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/ping", "/favicon.ico"])
def test_a_health_check_uses_nothing(svd: Front, path: str) -> None:
    time.sleep(0.5)
    svd.people.get(path)
    assert unused_seconds(svd) >= 0.5


def test_neither_does_a_worker_nor_a_page_that_was_left_open_nor_who_is_not_let_in(svd: Front) -> None:
    time.sleep(0.5)
    svd.worker.says("ready")
    svd.people.get("/v1/videos", headers=UNATTENDED)
    assert svd.anybody.get("/v1/models").status_code == 401
    assert unused_seconds(svd) >= 0.5


def test_a_request_that_is_under_way_uses_it_all_the_time() -> None:
    now = 0.0
    presence = Presence(clock=lambda: now)
    presence.begin()
    now = 5000.0
    assert presence.unused_seconds() == 0
    presence.end()
    now = 5007.0
    assert presence.unused_seconds() == 7


def test_an_upload_uses_it_as_long_as_it_comes(svd: Front) -> None:
    arrived, done = threading.Event(), threading.Event()

    def slowly() -> Iterator[bytes]:
        yield b'{"prompt": "'
        arrived.set()
        done.wait(60)
        yield b'"}'

    upload = threading.Thread(
        target=lambda: svd.people.post(
            "/v1/videos", content=slowly(), headers={"Content-Type": "application/json"}
        )
    )
    upload.start()
    assert arrived.wait(60)
    time.sleep(0.5)
    seen = unused_seconds(svd)
    done.set()
    upload.join(60)
    assert seen <= 0


def test_an_open_stream_of_events_uses_it_as_long_as_it_is_open(wan: Front) -> None:
    made = wan.people.post("/v1/videos", json={"prompt": "a cat"}).json()["id"]
    with wan.people.stream("GET", f"/v1/videos/{made}/events") as answer:
        lines = answer.iter_lines()  # kept: one that is let go closes the stream
        assert next(lines)
        time.sleep(0.5)
        assert unused_seconds(wan) <= 0
    wait_for(lambda: unused_seconds(wan) > 0, 60)


def test_a_download_uses_it_as_long_as_it_goes(wan: Front) -> None:
    made = wan.people.post("/v1/videos", json={"prompt": "a cat"}).json()["id"]
    wan.worker.make(bytes(64 * 1024**2))  # more than a connection holds by itself
    with wan.people.stream("GET", f"/v1/videos/{made}/content") as answer:
        chunks = answer.iter_raw(1024)
        assert next(chunks)
        time.sleep(0.5)
        assert unused_seconds(wan) <= 0
    wait_for(lambda: unused_seconds(wan) > 0, 60)


def test_somebody_asks_for_more_time(svd: Front) -> None:
    assert svd.people.post("/stay", json={"minutes": 30}).status_code == 204
    assert -1800 <= unused_seconds(svd) < -1700
    assert svd.people.post("/stay").status_code == 204
    assert -3600 <= unused_seconds(svd) < -3500
    assert svd.people.post("/stay", json={"minutes": 1e9}).status_code == 400
    assert svd.anybody.post("/stay").status_code == 401
