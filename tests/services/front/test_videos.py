"""Our own side of the contract: what is sent in which form, what comes back, and what is refused."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from bootstrap.launch.front_client import FrontClient
from services.front.health import access
from services.front.settings import Settings
from tests.services.front.running import SVD, WAN, Front, running


def test_json_and_form_ask_for_the_same(wan: Front) -> None:
    fields = {
        "prompt": "a cat",
        "num_frames": 17,
        "seed": 1,
        "lora": False,
        "guidance_scale": 3.5,
        "size": "832x480",
    }
    text = {
        name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in fields.items()
    }
    post = wan.people.post
    by_json = post("/v1/videos", json=fields).json()["parameters"]
    by_form = post("/v1/videos", files={name: (None, value) for name, value in text.items()}).json()[
        "parameters"
    ]
    by_urlencoded = post("/v1/videos", data=text).json()["parameters"]
    assert by_json == by_form == by_urlencoded
    assert {name: by_json[name] for name in ("num_frames", "seed", "lora")} == {
        "num_frames": 17,
        "seed": 1,
        "lora": False,
    }


@pytest.mark.parametrize(
    "form", ["file", "data-url", "base64", "object", "image_reference", "bracket", "json-text"]
)
def test_a_photo_may_come_in_any_of_the_forms_that_clients_use(svd: Front, photo: bytes, form: str) -> None:
    text = base64.b64encode(photo).decode()
    address = f"data:image/jpeg;base64,{text}"
    forms: dict[str, dict[str, Any]] = {
        "file": {"files": {"input_reference": ("x.bin", photo, "application/octet-stream")}},
        "data-url": {"json": {"input_reference": address}},
        "base64": {"json": {"input_reference": text}},
        "object": {"json": {"input_reference": {"image_url": address}}},
        "image_reference": {"json": {"image_reference": {"image_url": {"url": address}}}},
        "bracket": {"data": {"input_reference[image_url]": address}},
        "json-text": {"data": {"image_reference": f'{{"image_url": "{address}"}}'}},
    }
    answer = svd.people.post("/v1/videos", **forms[form])
    assert answer.status_code == 200, answer.text
    job = svd.worker.claimed()
    assert job["has_input"]
    kept = svd.worker.http.get(f"/jobs/{job['id']}/input", params={"token": job["token"]})
    assert kept.content == photo


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("ftp://example.com/photo.jpg", "not fetched"),
        ("file:///etc/passwd", "not fetched"),
        ("not base64!", "not base64"),
        ("data:image/png,abc", "not base64"),
        ({"file_id": "file-1"}, "image_url"),
        ([1, 2], "list"),
        ({}, "empty"),
    ],
)
def test_what_is_no_photo_is_refused_with_its_reason(svd: Front, value: object, why: str) -> None:
    answer = svd.people.post("/v1/videos", json={"input_reference": value})
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (400, "input_reference", "image_unreadable")
    assert why in error["message"]


def test_an_empty_file_is_told_apart_from_none(svd: Front) -> None:
    answer = svd.people.post("/v1/videos", files={"input_reference": ("a.jpg", b"", "image/jpeg")})
    assert answer.json()["error"]["code"] == "image_empty"
    answer = svd.people.post("/v1/videos", json={})
    assert answer.json()["error"]["code"] == "image_required"


def test_an_unknown_field_is_named_with_its_nearest(wan: Front) -> None:
    answer = wan.people.post("/v1/videos", json={"prompt": "a cat", "num_frame": 17})
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (400, "num_frame", "unknown_field")
    assert "num_frames" in error["fix"]
    answer = wan.people.post("/v1/videos", json={"prompt": "a cat", "input_referense": "x"})
    assert "input_reference" in answer.json()["error"]["fix"]


@pytest.mark.parametrize("text", ["nul \0 nul", "half \ud83d of it"])
@pytest.mark.parametrize("name", ["prompt", "user", "model"])
def test_text_that_cannot_be_kept_is_refused(wan: Front, name: str, text: str) -> None:
    body = json.dumps({"prompt": "a cat", name: text})
    answer = wan.people.post("/v1/videos", content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, name)


def test_a_field_given_twice_is_refused(wan: Front) -> None:
    parts = [("prompt", (None, "a cat")), ("seed", (None, "1")), ("seed", (None, "2"))]
    answer = wan.people.post("/v1/videos", files=parts)
    assert answer.json()["error"]["code"] == "duplicate_field"


def test_nothing_is_kept_of_what_is_refused(svd: Front, photo: bytes) -> None:
    for _ in range(5):
        svd.people.post("/v1/videos", files={"input_reference": photo}).raise_for_status()
    full = svd.people.post("/v1/videos", files={"input_reference": photo})
    assert full.json()["error"]["code"] == "queue_full"
    svd.people.post("/v1/videos", files={"input_reference": photo}, data={"fps": "99"})
    assert len(list((svd.data_dir / "jobs").iterdir())) == 5


def test_the_video_object_has_every_field_of_the_contract(wan: Front) -> None:
    video = wan.people.post("/v1/videos", json={"prompt": "a cat"}).json()
    contract = {
        "id",
        "object",
        "model",
        "status",
        "progress",
        "created_at",
        "completed_at",
        "expires_at",
        "size",
        "seconds",
        "prompt",
        "remixed_from_video_id",
        "error",
    }
    assert contract <= set(video)
    assert (video["object"], video["status"], video["progress"]) == ("video", "queued", 0)
    assert video["queue_position"] == 1
    assert 0 <= video["seed"] < 2**31


def test_what_a_photo_loses_is_said_at_once_and_for_each_clip_of_it(
    svd: Front, photo: bytes, clip: bytes
) -> None:
    video = svd.people.post("/v1/videos", files={"input_reference": photo}, data={"size": "128x256"}).json()
    assert [warning for warning in video["warnings"] if "cut off" in warning]
    name = svd.worker.make(clip)
    assert svd.people.get(f"/v1/videos/{name}").json()["warnings"] == video["warnings"]
    again = svd.people.post(f"/v1/videos/{name}/remix", json={"motion_bucket_id": 40}).json()
    assert again["warnings"] == video["warnings"]


def test_poll_after_is_said_until_it_is_finished(wan: Front, clip: bytes) -> None:
    answer = wan.people.post("/v1/videos", json={"prompt": "a cat"})
    assert 500 <= int(answer.headers["openai-poll-after-ms"]) <= 5000
    name = wan.worker.make(clip)
    assert "openai-poll-after-ms" not in wan.people.get(f"/v1/videos/{name}").headers


def test_a_range_of_the_clip_is_a_206(wan: Front, clip: bytes) -> None:
    wan.people.post("/v1/videos", json={"prompt": "a cat"})
    path = f"/v1/videos/{wan.worker.make(clip)}/content"
    part = wan.people.get(path, headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, clip[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(clip)}"
    assert wan.people.get(path, headers={"Range": "bytes=-10"}).content == clip[-10:]
    head = wan.people.head(path)
    assert (head.headers["content-length"], head.headers["content-type"]) == (str(len(clip)), "video/mp4")


@pytest.mark.parametrize("asked", ["bytes={size}-", "bytes=-0"])
def test_a_range_that_cannot_be_sent_is_told_as_all_errors_are(wan: Front, clip: bytes, asked: str) -> None:
    wan.people.post("/v1/videos", json={"prompt": "a cat"})
    path = f"/v1/videos/{wan.worker.make(clip)}/content"
    answer = wan.people.get(path, headers={"Range": asked.format(size=len(clip))})
    assert (answer.status_code, answer.json()["error"]["code"]) == (416, "invalid_range")
    assert answer.headers["content-range"] == f"bytes */{len(clip)}"
    assert f"bytes=0-{len(clip) - 1}" in answer.json()["error"]["fix"]


@pytest.mark.parametrize(
    "asked", ["items=0-1", "bytes=5-2", "bytes=abc", "bytes=", "bytes", "0-1", "bytes=0-1,5-2", "bytes=1"]
)
def test_a_range_that_cannot_be_read_is_ignored(wan: Front, clip: bytes, asked: str) -> None:
    wan.people.post("/v1/videos", json={"prompt": "a cat"})
    path = f"/v1/videos/{wan.worker.make(clip)}/content"
    answer = wan.people.get(path, headers={"Range": asked})
    assert (answer.status_code, answer.content) == (200, clip)


def test_who_has_the_clip_is_not_sent_it_again(wan: Front, clip: bytes) -> None:
    wan.people.post("/v1/videos", json={"prompt": "a cat"})
    path = f"/v1/videos/{wan.worker.make(clip)}/content"
    tag = wan.people.get(path).headers["etag"]
    for kept in (tag, f'"other", W/{tag}', "*"):
        again = wan.people.get(path, headers={"If-None-Match": kept})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert wan.people.get(path, headers={"If-None-Match": '"other"'}).content == clip


def test_content_of_an_unfinished_video_says_how_far_it_is(wan: Front) -> None:
    video = wan.people.post("/v1/videos", json={"prompt": "a cat"}).json()
    wan.worker.beat(wan.worker.claimed(), progress=0.4)
    answer = wan.people.get(f"/v1/videos/{video['id']}/content")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "not_finished")
    assert "40 %" in answer.json()["error"]["message"]


def test_cancel_of_a_queued_video_is_at_once_and_may_be_repeated(wan: Front) -> None:
    name = wan.people.post("/v1/videos", json={"prompt": "a cat"}).json()["id"]
    for _ in range(2):
        video = wan.people.post(f"/v1/videos/{name}/cancel").json()
        assert (video["status"], video["error"]["code"]) == ("failed", "cancelled")
    assert wan.worker.claim() is None


def test_cancel_of_a_running_video_goes_with_the_beat(wan: Front) -> None:
    name = wan.people.post("/v1/videos", json={"prompt": "a cat"}).json()["id"]
    job = wan.worker.claimed()
    assert wan.worker.beat(job).json() == {"cancel": False}
    video = wan.people.post(f"/v1/videos/{name}/cancel").json()
    # A status that clients do not know would end their polling too early.
    assert (video["status"], video["cancel_requested"]) == ("in_progress", True)
    assert wan.worker.beat(job).json() == {"cancel": True}
    wan.worker.finish(job, "cancelled").raise_for_status()
    video = wan.people.get(f"/v1/videos/{name}").json()
    assert (video["status"], video["error"]["code"]) == ("failed", "cancelled")


def test_delete_removes_the_files_and_stops_the_worker(svd: Front, photo: bytes, clip: bytes) -> None:
    name = svd.people.post("/v1/videos", files={"input_reference": photo}).json()["id"]
    job = svd.worker.claimed()
    assert svd.people.delete(f"/v1/videos/{name}").json()["deleted"] is True
    assert not (svd.data_dir / "jobs" / name).exists()
    assert svd.worker.beat(job).status_code == 409
    assert svd.worker.put(job, clip).status_code == 409
    assert not (svd.data_dir / "jobs" / name).exists()
    assert svd.people.delete(f"/v1/videos/{name}").status_code == 404


def test_a_remix_of_a_photo_moves_it_differently(svd: Front, photo: bytes) -> None:
    first = svd.people.post("/v1/videos", files={"input_reference": photo}, data={"seed": "7"}).json()
    svd.worker.claimed()
    answer = svd.people.post(f"/v1/videos/{first['id']}/remix", json={"prompt": "x", "motion_bucket_id": 40})
    second = answer.json()
    assert second["seed"] != 7
    assert second["parameters"]["motion_bucket_id"] == 40
    job = svd.worker.claimed("box-1")
    kept = svd.worker.http.get(f"/jobs/{job['id']}/input", params={"token": job["token"]})
    assert (job["id"], kept.content) == (second["id"], photo)


def test_a_remix_may_start_from_another_photo(svd: Front, photo: bytes) -> None:
    first = svd.people.post("/v1/videos", files={"input_reference": photo}).json()
    svd.worker.claimed()
    other = photo + b"\0"  # bytes after the end of a JPEG are allowed
    path = f"/v1/videos/{first['id']}/remix"
    svd.people.post(path, files={"input_reference": other}, data={"fps": "12"}).raise_for_status()
    job = svd.worker.claimed("box-1")
    kept = svd.worker.http.get(f"/jobs/{job['id']}/input", params={"token": job["token"]})
    assert (kept.content, job["values"]["fps"]) == (other, 12)


def test_the_same_idempotency_key_makes_one_video(svd: Front, photo: bytes) -> None:
    def ask(motion: str, key: str = "k") -> Any:
        files = {"input_reference": photo}
        headers = {"Idempotency-Key": key}
        return svd.people.post("/v1/videos", files=files, data={"motion_bucket_id": motion}, headers=headers)

    first = ask("40").json()
    assert ask("40").json()["id"] == first["id"]
    assert ask("40").json()["seed"] == first["seed"]
    assert (ask("41").status_code, ask("41").json()["error"]["code"]) == (409, "idempotency_conflict")
    assert ask("40", "other").json()["id"] != first["id"]


def test_one_user_does_not_keep_another_waiting(wan: Front) -> None:
    for number in range(3):
        wan.people.post("/v1/videos", json={"prompt": f"a{number}", "user": "a"}).raise_for_status()
    wan.people.post("/v1/videos", json={"prompt": "b0", "user": "b"}).raise_for_status()
    order = []
    for _ in range(4):
        job = wan.worker.claimed()
        order.append(job["values"]["prompt"])
        wan.worker.finish(job, "failed")
    assert order == ["a0", "b0", "a1", "a2"]


def test_sync_answers_with_the_clip(wan: Front, clip: bytes) -> None:
    worker = threading.Thread(target=wan.worker.make, args=(clip,))
    worker.start()
    answer = wan.people.post("/v1/videos/sync", json={"prompt": "a cat"})
    worker.join()
    assert (answer.content, answer.headers["content-type"]) == (clip, "video/mp4")
    assert wan.people.get(f"/v1/videos/{answer.headers['x-video-id']}").json()["status"] == "completed"


def test_sync_gives_up_before_a_proxy_would_and_the_video_goes_on(wan: Front) -> None:
    wan.boot(state="launching", access={"proxy_timeout_seconds": access.MARGIN_SECONDS + 0.3})
    answer = wan.people.post("/v1/videos/sync", json={"prompt": "a cat"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "still_running")
    assert wan.worker.claimed()["id"] in answer.json()["error"]["fix"]


def test_a_full_queue_estimates_when_there_is_room(wan: Front, clip: bytes) -> None:
    wan.people.post("/v1/videos", json={"prompt": "first"}).raise_for_status()
    job = wan.worker.claimed()
    time.sleep(1.1)
    wan.worker.put(job, clip)
    wan.worker.finish(job)
    for number in range(5):
        video = wan.people.post("/v1/videos", json={"prompt": str(number)}).json()
    assert 5 < video["eta_seconds"] < 20
    answer = wan.people.post("/v1/videos", json={"prompt": "one too many"})
    assert answer.status_code == 429
    assert 1 <= int(answer.headers["retry-after"]) <= 4
    assert "they take about" in answer.json()["error"]["message"]


def test_a_failed_boot_is_said_to_who_asks_for_a_video(wan: Front) -> None:
    wan.boot(
        state="failed",
        failure={"problem": "the GPU fell off the bus", "fix": "rent another", "phase": "load"},
    )
    answer = wan.people.post("/v1/videos", json={"prompt": "a cat"})
    assert (answer.status_code, answer.json()["error"]["message"]) == (503, "the GPU fell off the bus")


def test_a_video_of_another_model_says_what_it_waits_for(wan: Front) -> None:
    name = wan.people.post("/v1/videos", json={"prompt": "a cat"}).json()["id"]
    wan.plan(SVD)
    assert wan.worker.claim() is None
    video = wan.people.get(f"/v1/videos/{name}").json()
    assert (video["status"], video["queue_position"]) == ("queued", None)
    assert "waits for the model demo-wan" in video["warnings"][-1]


def test_old_videos_lose_their_files_and_say_so(tmp_path: Path, clip: bytes) -> None:
    with running(Settings(tmp_path, keep_seconds=1.0, purge_seconds=0.1)) as keeping:
        keeping.plan(WAN)
        made = keeping.people.post("/v1/videos", json={"prompt": "a cat"}).json()["id"]
        keeping.worker.make(clip)
        video = keeping.people.get(f"/v1/videos/{made}").json()
        assert video["expires_at"] - video["completed_at"] in (0, 1, 2)
        waiting = keeping.people.post("/v1/videos", json={"prompt": "a cat"}).json()["id"]
        for _ in range(50):
            if keeping.people.get(f"/v1/videos/{made}").json()["expired_at"] is not None:
                break
            time.sleep(0.1)
        assert keeping.people.get(f"/v1/videos/{made}/content").status_code == 410
        assert not (tmp_path / "jobs" / made).exists()
        assert keeping.people.get(f"/v1/videos/{waiting}").status_code == 200


def test_clips_that_a_new_database_does_not_know_are_not_deleted(tmp_path: Path, clip: bytes) -> None:
    kept, left = tmp_path / "jobs/video_kept", tmp_path / "jobs/video_left"
    for folder in (kept, left):
        folder.mkdir(parents=True)
        (folder / "input.png").write_bytes(b"photo")
    (kept / "content-1.mp4").write_bytes(clip)
    for folder in (kept, left):
        os.utime(folder, (1, 1))
    with running(Settings(tmp_path)):
        for _ in range(100):
            if not left.exists():
                break
            time.sleep(0.1)
    assert not left.exists()
    assert (kept / "content-1.mp4").read_bytes() == clip


def test_a_database_that_cannot_be_used_is_told_at_once_and_everywhere(tmp_path: Path) -> None:
    (tmp_path / "jobs.db").write_bytes(b"no database, but long enough to be one" * 200)
    with running(Settings(tmp_path)) as broken:
        broken.plan(WAN)
        broken.boot(state="ready", phases=[], findings=[], failure=None)
        broken.worker.says("ready")
        answer = broken.people.post("/v1/videos", json={"prompt": "a cat"})
        assert answer.status_code in (500, 503)  # 503 when the upkeep met it first
        assert "database is damaged" in answer.json()["error"]["message"]
        status = asyncio.run(FrontClient(broken.url, broken.token).status())
        assert status is not None
        assert (status.state, broken.anybody.get("/ping").status_code) == ("failed", 500)
        assert "database is damaged" in (status.failure or {})["problem"]


def test_a_body_that_is_too_large_is_refused_before_it_is_all_there(svd: Front) -> None:
    sent = 0

    def endless() -> Any:
        nonlocal sent
        yield b'--b\r\nContent-Disposition: form-data; name="input_reference"; filename="a"\r\n\r\n'
        for _ in range(2000):
            sent += 1
            yield b"x" * 2**20

    answer = svd.people.post(
        "/v1/videos", content=endless(), headers={"content-type": "multipart/form-data; boundary=b"}
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")
    assert sent < 200


def test_the_description_names_every_parameter(wan: Front) -> None:
    description = wan.people.get("/openapi.json").json()
    create = description["paths"]["/v1/videos"]["post"]
    for kind in ("application/json", "multipart/form-data"):
        fields = create["requestBody"]["content"][kind]["schema"]["properties"]
        assert {"prompt", "num_frames", "motion_bucket_id", "input_reference", "model"} <= set(fields)
    assert not [path for path in description["paths"] if path.startswith("/internal")]


def test_a_method_that_is_not_offered_names_all_that_are(wan: Front) -> None:
    answer = wan.people.put("/v1/videos")
    assert answer.status_code == 405
    assert answer.headers["Allow"] == "GET, POST"
    assert answer.json()["error"]["fix"] == "allowed: GET, POST"
