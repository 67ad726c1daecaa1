"""A link shows one clip to somebody without a token, for a while, and nothing else."""

from __future__ import annotations

import logging
import stat
import time
from typing import Any

import pytest

from services.front.door.auth import hide_token
from services.front.door.links import FILE, Links
from tests.services.front.running import Front


@pytest.fixture
def made(wan: Front, clip: bytes) -> str:
    wan.people.post("/v1/videos", json={"prompt": "a cat"}).raise_for_status()
    return wan.worker.make(clip)


def link(front: Front, video_id: str, **wanted: Any) -> str:
    answer = front.people.post(f"/v1/videos/{video_id}/link", json=wanted).raise_for_status().json()
    assert answer["url"].startswith(front.url)
    return str(answer["url"].removeprefix(front.url))


def test_anybody_who_has_the_link_reads_the_clip_with_ranges(wan: Front, made: str, clip: bytes) -> None:
    path = link(wan, made)
    answer = wan.anybody.get(path)
    assert (answer.content, answer.headers["content-type"]) == (clip, "video/mp4")
    part = wan.anybody.get(path, headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, clip[10:20])
    assert wan.anybody.head(path).headers["content-length"] == str(len(clip))


def test_it_opens_nothing_else(wan: Front, made: str) -> None:
    path = link(wan, made)
    query = path.partition("?")[2]
    for method, other in (
        ("POST", path), ("DELETE", path), ("GET", f"/v1/videos/{made}?{query}"),
        ("GET", f"/v1/videos/{made}/content?{query}"), ("GET", f"/v1/videos?{query}"),
    ):  # fmt: skip
        assert wan.anybody.request(method, other).status_code == 401, other


def test_what_is_changed_in_it_is_refused(wan: Front, made: str, clip: bytes) -> None:
    path = link(wan, made)
    wan.people.post("/v1/videos", json={"prompt": "another"}).raise_for_status()
    other = wan.worker.make(clip)
    for wrong in (path.replace(made, other), path.replace("expires=1", "expires=2"), path[:-1], path + "0"):
        answer = wan.anybody.get(wrong)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "wrong_link"), wrong
    assert wan.anybody.get(path.partition("?")[0]).status_code == 400


def test_it_ends_with_its_time(wan: Front, made: str) -> None:
    path = Links(wan.data_dir).path(made, int(time.time()) - 1)
    answer = wan.anybody.get(path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (410, "link_ended")
    for seconds in (0, 8 * 24 * 3600, "soon"):
        answer = wan.people.post(f"/v1/videos/{made}/link", json={"seconds": seconds})
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_value")


def test_it_ends_with_its_video_and_with_the_key(wan: Front, made: str) -> None:
    path = link(wan, made)
    assert wan.people.delete("/v1/links").status_code == 204
    assert wan.anybody.get(path).status_code == 403
    path = link(wan, made)
    assert wan.anybody.get(path).status_code == 200
    wan.people.delete(f"/v1/videos/{made}").raise_for_status()
    assert wan.anybody.get(path).status_code == 404


def test_only_a_finished_clip_has_one(wan: Front) -> None:
    name = wan.people.post("/v1/videos", json={"prompt": "a cat"}).json()["id"]
    answer = wan.people.post(f"/v1/videos/{name}/link")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "not_finished")
    assert wan.people.post("/v1/videos/video_0/link").status_code == 404
    assert wan.anybody.post(f"/v1/videos/{name}/link").status_code == 401


def test_the_key_is_the_owners_alone_and_no_log_has_a_signature(
    wan: Front, made: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        path = link(wan, made)
        wan.anybody.get(path)
    signature = path.rpartition("=")[2]
    assert len(signature) == 64
    assert stat.S_IMODE((wan.data_dir / FILE).stat().st_mode) == 0o600
    ours = [
        record.getMessage() for record in caplog.records if record.name.startswith(("kinokit", "uvicorn"))
    ]
    assert signature not in " ".join(ours)
    assert signature not in hide_token(f"GET {path} HTTP/1.1")
