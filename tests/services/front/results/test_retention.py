"""The disk never fills up with clips, and none goes that somebody still needs."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.front.results.readers import Readers
from services.front.settings import MIB, Settings
from tests.services.front.running import SVD, WAN, Front, running
from tests.support.waiting import wait_for

EVERYTHING = 1e6  # GiB: more than any disk has free
GIB = 1024 * MIB
LARGE = b"\1" * MIB


def settings(folder: Path, **more: Any) -> Settings:
    quick = {"purge_seconds": 0.1, "keep_grace_seconds": 0.0, "read_grace_seconds": 0.0}
    return Settings(folder, **{**quick, **more})


def made(front: Front, content: bytes = LARGE, **more: Any) -> str:
    front.plan(WAN)
    video = front.people.post("/v1/videos", json={"prompt": "a boat", **more}).json()["id"]
    assert front.worker.make(content) == video
    return str(video)


def read(front: Front, video: str, variant: str = "video") -> httpx.Response:
    return front.people.get(f"/v1/videos/{video}/content", params={"variant": variant})


def expired(front: Front, video: str) -> bool:
    return front.people.get(f"/v1/videos/{video}").json()["expired_at"] is not None


def test_a_clip_says_when_it_expires_and_goes_with_its_photo_and_its_pictures(
    tmp_path: Path, clip: bytes, photo: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with running(settings(tmp_path, keep_seconds=3600.0)) as front:
        front.plan(SVD)
        video = front.people.post("/v1/videos", files={"input_reference": photo}).json()["id"]
        front.worker.make(clip)
        before = front.people.get(f"/v1/videos/{video}").json()
        assert before["expires_at"] - before["completed_at"] in (3599, 3600, 3601)
        assert read(front, video, "thumbnail").status_code == 200
    with caplog.at_level(logging.INFO), running(settings(tmp_path, keep_seconds=0.1)) as front:
        wait_for(lambda: expired(front, video))
        for variant in ("video", "thumbnail", "spritesheet", "input"):
            answer = read(front, video, variant)
            assert (answer.status_code, answer.json()["error"]["code"]) == (410, "expired"), variant
        after = front.people.get(f"/v1/videos/{video}").json()
        assert (after["status"], after["expires_at"]) == ("completed", after["expired_at"])
        assert not (tmp_path / "jobs" / video).exists()
        again = front.people.post(f"/v1/videos/{video}/remix", json={"seed": 5})
        assert (again.status_code, again.json()["error"]["code"]) == (410, "expired")
        wait_for(lambda: front.people.get("/status").json()["retention"]["deleted"] == 1)
    assert "1 clips were deleted (too old)" in caplog.text


def test_the_oldest_go_until_the_others_fit(tmp_path: Path) -> None:
    with running(settings(tmp_path, keep_gib=2.5 * MIB / GIB)) as front:
        videos = [made(front) for _ in range(3)]
        wait_for(lambda: expired(front, videos[0]))
        assert [read(front, video).status_code for video in videos] == [410, 200, 200]
        fourth = made(front)
        wait_for(lambda: expired(front, videos[1]))
        assert [read(front, video).status_code for video in (videos[2], fourth)] == [200, 200]


def test_a_full_disk_takes_all_that_may_go_and_says_what_is_missing(tmp_path: Path) -> None:
    with running(settings(tmp_path, make_room_gib=EVERYTHING)) as front:
        video = made(front)
        waiting = front.people.post("/v1/videos", json={"prompt": "a boat"}).json()["id"]
        wait_for(lambda: expired(front, video))
        wait_for(lambda: front.people.get("/status").json()["retention"]["missing_gib"] > 1)
        assert front.people.get(f"/v1/videos/{waiting}").json()["status"] == "queued"


def test_a_clip_that_has_just_ended_stays_however_full_the_disk_is(tmp_path: Path) -> None:
    with running(settings(tmp_path, make_room_gib=EVERYTHING, keep_grace_seconds=3600.0)) as front:
        video = made(front)
        wait_for(lambda: front.people.get("/status").json()["retention"]["missing_gib"] > 1)
        assert read(front, video).content == LARGE


def test_nothing_goes_where_nobody_asked_for_it(tmp_path: Path) -> None:
    with running(settings(tmp_path)) as front:
        video = made(front)
        shown = front.people.get("/status").json()["retention"]
        assert (shown["keep_gib"], shown["make_room_gib"], shown["deleted"]) == (None, None, 0)
        assert read(front, video).content == LARGE


def test_a_clip_goes_only_after_its_copy_is_there(tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    target.mkdir()
    (target / "blocked").write_text("a file where a folder should be")
    made_with = settings(tmp_path / "box", results_url=f"file://{target}", make_room_gib=EVERYTHING)
    with running(made_with) as front:
        kept = made(front, results_prefix="blocked")
        gone = made(front)
        wait_for(lambda: expired(front, gone))
        copy = front.people.get(f"/v1/videos/{gone}").json()["copied_to"]
        assert copy in read(front, gone).json()["error"]["fix"]
        assert Path(copy.removeprefix("file://")).read_bytes() == LARGE
        assert read(front, kept).content == LARGE
        (target / "blocked").unlink()
        wait_for(lambda: expired(front, kept), 120)
    with running(settings(tmp_path / "box", results_url=f"file://{target}")) as front:
        assert front.people.get("/status").json()["retention"]["make_room_gib"] == 2.0


def test_a_clip_is_not_deleted_under_who_reads_it(tmp_path: Path) -> None:
    large = b"\1" * (24 * MIB)  # more than the sockets between the two hold
    with running(settings(tmp_path, keep_gib=24.5 * MIB / GIB)) as front:
        video = made(front, large)
        with front.people.stream("GET", f"/v1/videos/{video}/content") as answer:
            pieces = answer.iter_bytes()
            arrived = len(next(pieces))
            other = made(front)
            wait_for(lambda: expired(front, other))  # younger, and the older one is in use
            assert (tmp_path / "jobs" / video).exists()
            arrived += sum(map(len, pieces))
        assert arrived == len(large)
        made(front)
        wait_for(lambda: expired(front, video))


def test_a_player_that_comes_back_for_the_next_part_finds_it() -> None:
    now = [0.0]
    readers = Readers(grace_seconds=300.0, clock=lambda: now[0])
    with readers.reading("a"), readers.reading("b"):
        now[0] = 1000.0
        assert readers.held() == {"a", "b"}
    now[0] = 1299.0
    assert readers.held() == {"a", "b"}
    now[0] = 1301.0
    assert readers.held() == set()
