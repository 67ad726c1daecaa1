"""Finished clips leave the box by themselves: to a real S3 server, and to a folder."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import s3fs
from moto.server import ThreadedMotoServer

from services.front.results import stores
from services.front.results.stores import Store
from services.front.settings import Settings
from tests.services.front.running import WAN, Front, running
from tests.support.answering import Asked, serving
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
        kept = {"endpoint": None, "name": "{date}-{time}-{id}", "link_hours": 24.0}
        assert results == {"to": f"s3://{BUCKET}/box 1", "waiting": 0, "failure": None, **kept}


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
                wait_for(lambda: front.people.get(f"/v1/videos/{video}").json()["expired_at"])
                return front.people.get(f"/v1/videos/{video}/content").status_code != 410
            wait_for(lambda: front.people.get("/status").json()["results"]["failure"])
            return front.people.get(f"/v1/videos/{video}/content").status_code == 200

    assert not kept(None)
    assert kept("s3://nobody-made-this")


def test_a_link_to_the_copy_opens_it_without_keys_and_is_renewed(
    tmp_path: Path, storage: s3fs.S3FileSystem, clip: bytes
) -> None:
    storage.mkdir("linked")
    made = Settings(tmp_path, results_url="s3://linked", results_link_hours=24.0)
    with running(made) as front:
        [video] = clips_of(front, clip)
        wait_for(lambda: copied_to(front, video))
        shown = front.people.get(f"/v1/videos/{video}").json()
        assert httpx.get(shown["url"]).content == clip
        assert "X-Amz-Algorithm=AWS4-HMAC-SHA256" in shown["url"]
        assert shown["url_expires_at"] == pytest.approx(time.time() + 24 * 3600, abs=120)
        assert shown["copying"] == {"state": "copied", "attempts": 1, "last_error": None}
    with running(replace(made, results_link_hours=168.0)) as front:
        renewed = front.people.get(f"/v1/videos/{video}").json()
        assert renewed["url_expires_at"] == pytest.approx(time.time() + 168 * 3600, abs=120)
        assert httpx.get(renewed["url"]).content == clip
        assert front.people.get("/v1/videos").json()["data"][0]["url"] == renewed["url"]


def test_a_clip_is_called_as_the_box_and_its_request_say(
    tmp_path: Path, storage: s3fs.S3FileSystem, clip: bytes
) -> None:
    storage.mkdir("named")
    with running(Settings(tmp_path, results_url="s3://named", results_name="{user}/{model}/{id}")) as front:
        front.plan(WAN)
        asked = {"prompt": "a", "user": "../Ann é", "results_prefix": "project/scene-1/"}
        video = front.people.post("/v1/videos", json=asked).json()["id"]
        front.worker.make(clip)
        wait_for(lambda: copied_to(front, video))
        user = re.sub(r"[^A-Za-z0-9_=-]", "_", "../Ann é")
        assert copied_to(front, video) == f"s3://named/project/scene-1/{user}/demo-wan/{video}.mp4"
        for wrong in ("../up", "/root", "a//b", ".hidden", "a b", "x" * 201, 7):
            refused = front.people.post("/v1/videos", json={**asked, "results_prefix": wrong})
            assert refused.status_code == 400, wrong
            assert refused.json()["error"]["param"] == "results_prefix"


def test_a_large_clip_goes_in_parts_and_is_compared(
    tmp_path: Path, storage: s3fs.S3FileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.mkdir("large")
    monkeypatch.setattr(stores, "PART_BYTES", 5 * stores.MIB)  # the smallest that S3 takes
    file = tmp_path / "large.mp4"
    file.write_bytes(os.urandom(12 * stores.MIB))
    address = Store("s3://large").put(file, "a/large.mp4")
    assert storage.info(address)["ETag"].endswith('-3"')
    assert storage.cat_file(address) == file.read_bytes()


def test_bytes_that_changed_on_the_way_are_no_copy(
    tmp_path: Path, s3: str, storage: s3fs.S3FileSystem, monkeypatch: pytest.MonkeyPatch, clip: bytes
) -> None:
    storage.mkdir("bent")
    changed = clip[:-1] + bytes([clip[-1] ^ 1])

    def bend(asked: Asked) -> None:
        relay(s3, asked, lambda body: body.replace(clip, changed))

    with serving(bend) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        s3fs.S3FileSystem.clear_instance_cache()
        with running(Settings(tmp_path, results_url="s3://bent")) as front:
            [video] = clips_of(front, clip)
            wait_for(lambda: (copying(front, video) or {}).get("last_error"))
            assert "not those that were sent" in str(copying(front, video))
            assert copied_to(front, video) is None


def test_a_store_that_is_busy_or_denies_is_tried_again_and_its_state_outlives_a_restart(
    tmp_path: Path, s3: str, storage: s3fs.S3FileSystem, monkeypatch: pytest.MonkeyPatch, clip: bytes
) -> None:
    storage.mkdir("busy")
    answers = [(503, "SlowDown"), (500, "InternalError"), (403, "AccessDenied")]
    is_open = threading.Event()

    def refuse(asked: Asked) -> None:
        if asked.command == "PUT" and not is_open.is_set():
            status, code = answers[refuse.count % len(answers)]  # type: ignore[attr-defined]
            refuse.count += 1  # type: ignore[attr-defined]
            asked.rfile.read(int(asked.headers.get("content-length", 0)))
            said = f"<Error><Code>{code}</Code><Message>key s3cret is refused</Message></Error>"
            return asked.reply(status, said.encode(), Content_Type="application/xml")
        return relay(s3, asked, lambda body: body)

    refuse.count = 0  # type: ignore[attr-defined]
    with serving(refuse) as url:
        made = Settings(tmp_path, results_url="s3://busy", results_endpoint_url=url)
        with running(made) as front:
            [video] = clips_of(front, clip)
            wait_for(lambda: (copying(front, video) or {}).get("last_error"), 120)
            shown = copying(front, video) or {}
            assert shown["attempts"] >= 1
            assert "s3cret" not in str(shown) + front.people.get("/status").text
        is_open.set()
        with running(made) as front:
            wait_for(lambda: copied_to(front, video), 120)
            assert (copying(front, video) or {})["attempts"] > shown["attempts"]


def test_a_clip_that_cannot_be_copied_lets_the_next_one_pass(tmp_path: Path, clip: bytes) -> None:
    target = tmp_path / "elsewhere"
    target.mkdir()
    (target / "blocked").write_text("a file where a folder should be")
    with running(Settings(tmp_path / "box", results_url=f"file://{target}")) as front:
        front.plan(WAN)
        asked = {"prompt": "a", "results_prefix": "blocked"}
        first = front.people.post("/v1/videos", json=asked).json()["id"]
        front.worker.make(clip)
        [second] = clips_of(front, clip)
        wait_for(lambda: copied_to(front, second))
        assert copied_to(front, first) is None
        wait_for(lambda: (copying(front, first) or {}).get("state") == "failing")
        assert front.people.get(f"/v1/videos/{second}").json()["url"] is None  # a folder gives no links


def test_who_is_told_of_a_clip_finds_its_copy(
    tmp_path: Path, storage: s3fs.S3FileSystem, clip: bytes
) -> None:
    storage.mkdir("told")
    told: list[bytes] = []

    def hear(asked: Asked) -> None:
        told.append(asked.rfile.read(int(asked.headers["content-length"])))
        asked.reply(200)

    with serving(hear) as url:
        made = Settings(tmp_path, results_url="s3://told", webhook_url=url, webhook_format="runpod")
        with running(replace(made, private_hosts=("127.0.0.1",))) as front:
            [video] = clips_of(front, clip)
            wait_for(lambda: told)
            output = json.loads(told[0])["output"]
            assert output["copied_to"] == copied_to(front, video)
            assert httpx.get(output["url"]).content == clip


def test_other_stores_are_spoken_to_as_they_understand() -> None:
    amazon = stores.s3_options(None, {"AWS_REGION": "eu-west-1"})
    assert amazon["client_kwargs"] == {"region_name": "eu-west-1"}
    assert "request_checksum_calculation" not in amazon["config_kwargs"]
    r2 = stores.s3_options("https://account.r2.cloudflarestorage.com", {})
    assert r2["config_kwargs"]["request_checksum_calculation"] == "when_required"
    minio = stores.s3_options(None, {"AWS_ENDPOINT_URL_S3": "http://minio:9000"})
    assert minio["config_kwargs"]["response_checksum_validation"] == "when_required"
    assert amazon["config_kwargs"]["signature_version"] == r2["config_kwargs"]["signature_version"] == "s3v4"


def copying(front: Front, video: str) -> dict[str, Any] | None:
    found: dict[str, Any] | None = front.people.get(f"/v1/videos/{video}").json()["copying"]
    return found


def relay(to: str, asked: Asked, change: Callable[[bytes], bytes]) -> None:
    """Hand a request on to the store, and its answer back."""
    body = asked.rfile.read(int(asked.headers.get("content-length", 0)))
    changed = change(body)
    own = ("content-md5", "x-amz-checksum-crc32", "connection") if changed != body else ("connection",)
    headers = {name: value for name, value in asked.headers.items() if name.lower() not in own}
    answer = httpx.request(asked.command, f"{to}{asked.path}", headers=headers, content=changed)
    kept = ("etag", "last-modified", "content-type", "x-amz-request-id")
    more = {name.replace("-", "_"): answer.headers[name] for name in kept if name in answer.headers}
    if asked.command == "HEAD":
        more["Content-Length"] = answer.headers.get("content-length", "0")
    asked.reply(answer.status_code, answer.content, **more)
