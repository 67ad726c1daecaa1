"""Finished clips leave the box by themselves: to a real S3 server, and to a folder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import s3fs
from moto.server import ThreadedMotoServer

from services.front.settings import Settings
from tests.services.front.running import WAN, Front, running
from tests.support.waiting import wait_for

BUCKET = "clips"


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    yield f"http://127.0.0.1:{server.get_host_and_port()[1]}"
    server.stop()


@pytest.fixture
def storage(s3: str, monkeypatch: pytest.MonkeyPatch) -> s3fs.S3FileSystem:
    """What the renter gives to the box: the names of Amazon's own tools."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "studio")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3)
    s3fs.S3FileSystem.clear_instance_cache()
    return s3fs.S3FileSystem(use_listings_cache=False)


def clips_of(front: Front, clip: bytes, count: int = 1) -> list[str]:
    front.plan(WAN)
    made = []
    for number in range(count):
        front.people.post("/v1/videos", json={"prompt": f"a boat, {number}"}).raise_for_status()
        made.append(front.worker.make(clip, sample_seconds=1.0))
    return made


def copied_to(front: Front, video: str) -> str | None:
    found: str | None = front.people.get(f"/v1/videos/{video}").json()["copied_to"]
    return found


def test_a_clip_lies_in_the_bucket_soon_after_it_is_finished(
    tmp_path: Path, storage: s3fs.S3FileSystem, clip: bytes
) -> None:
    storage.mkdir(BUCKET)
    with running(Settings(tmp_path, results_url=f"s3://{BUCKET}/box 1/")) as front:
        videos = clips_of(front, clip, 2)
        wait_for(lambda: all(copied_to(front, video) for video in videos))
        address = copied_to(front, videos[0])
        assert address is not None
        assert address.startswith(f"s3://{BUCKET}/box 1/")
        assert address.endswith(f"-{videos[0]}.mp4")
        assert storage.cat_file(address) == clip
        recorded = json.loads(storage.cat_file(address.replace(".mp4", ".json")))
        assert (recorded["id"], recorded["prompt"]) == (videos[0], "a boat, 0")
        assert len(storage.ls(f"{BUCKET}/box 1")) == 4
        results = front.people.get("/status").json()["results"]
        assert results == {"to": f"s3://{BUCKET}/box 1", "waiting": 0, "failure": None}


def test_a_place_that_fails_is_tried_again_and_said(
    tmp_path: Path, storage: s3fs.S3FileSystem, clip: bytes
) -> None:
    with running(Settings(tmp_path, results_url="s3://not-yet-there")) as front:
        [video] = clips_of(front, clip)
        wait_for(lambda: front.people.get("/status").json()["results"]["failure"])
        results = front.people.get("/status").json()["results"]
        assert results["waiting"] == 1
        assert "s3cret" not in json.dumps(results)
        assert copied_to(front, video) is None
        storage.mkdir("not-yet-there")
        wait_for(lambda: copied_to(front, video), 120)


def test_a_clip_of_before_the_setting_leaves_too_and_no_part_has_a_clips_name(
    tmp_path: Path, clip: bytes
) -> None:
    with running(Settings(tmp_path)) as front:
        [video] = clips_of(front, clip)
    target = tmp_path / "elsewhere"
    with running(Settings(tmp_path, results_url=f"file://{target}")) as front:
        wait_for(lambda: copied_to(front, video))
    assert sorted(path.suffix for path in target.iterdir()) == [".json", ".mp4"]
    assert next(target.glob("*.mp4")).read_bytes() == clip


def test_a_clip_that_is_nowhere_else_outlives_keep_days(tmp_path: Path, clip: bytes) -> None:
    def kept(results_url: str | None) -> bool:
        folder = tmp_path / str(results_url is None)
        settings = Settings(folder, results_url=results_url, keep_seconds=0.0, purge_seconds=0.3)
        with running(settings) as front:
            [video] = clips_of(front, clip)
            if results_url is None:
                wait_for(lambda: front.people.get(f"/v1/videos/{video}").status_code == 404)
                return False
            wait_for(lambda: front.people.get("/status").json()["results"]["failure"])
            return front.people.get(f"/v1/videos/{video}").status_code == 200

    assert not kept(None)
    assert kept("s3://nobody-made-this")
