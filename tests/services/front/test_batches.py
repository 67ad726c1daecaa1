"""Many requests at once: all of them become videos, in their order, or none."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from tests.services.front.running import Front


def requests(*prompts: str, **more: Any) -> dict[str, Any]:
    return {"requests": [{"prompt": prompt, "num_frames": 17} | more for prompt in prompts]}


def prompts(front: Front) -> list[str]:
    return [video["prompt"] for video in front.people.get("/v1/videos?order=asc").json()["data"]]


def test_a_batch_becomes_videos_in_its_order_and_its_state_is_told(wan: Front, clip: bytes) -> None:
    batch = wan.people.post("/v1/videos/batch", json=requests("a", "b", "c")).raise_for_status().json()
    assert (batch["object"], batch["status"]) == ("video.batch", "in_progress")
    assert batch["counts"] == {"queued": 3, "in_progress": 0, "completed": 0, "failed": 0}
    ids = [video["id"] for video in batch["videos"]]
    assert [wan.people.get(f"/v1/videos/{name}").json()["prompt"] for name in ids] == ["a", "b", "c"]
    assert [wan.worker.make(clip) for _ in ids] == ids
    seen = wan.people.get(f"/v1/videos/batch/{batch['id']}").json()
    assert (seen["status"], seen["counts"]["completed"]) == ("completed", 3)
    assert [video["id"] for video in seen["videos"]] == ids


def test_if_one_is_wrong_none_is_taken_and_each_mistake_is_told(wan: Front) -> None:
    body = requests("a", "b", "c", "d")
    body["requests"][1]["size"] = "831x480"
    body["requests"][3] = {"prompt": "d", "nun_frames": 1}
    error = wan.people.post("/v1/videos/batch", json=body).json()["error"]
    assert (error["code"], error["param"]) == ("invalid_batch", "requests")
    assert [(each["index"], each["param"], each["code"]) for each in error["errors"]] == [
        (1, "size", "invalid_value"), (3, "nun_frames", "unknown_field"),
    ]  # fmt: skip
    assert all(each["fix"] for each in error["errors"])
    assert prompts(wan) == []


@pytest.mark.parametrize("wrapped", [False, True])
def test_lines_are_read_also_as_openais_batch_files_have_them(wan: Front, wrapped: bool) -> None:
    bodies = requests("a", "b")["requests"]
    lines = [
        {"custom_id": str(number), "method": "POST", "url": "/v1/videos", "body": body} if wrapped else body
        for number, body in enumerate(bodies)
    ]
    content = "\n".join(json.dumps(line) for line in lines) + "\n\n"
    headers = {"content-type": "application/jsonl"}
    wan.people.post("/v1/videos/batch", content=content, headers=headers).raise_for_status()
    assert prompts(wan) == ["a", "b"]


def test_one_key_stands_for_all_of_it(wan: Front) -> None:
    headers = {"Idempotency-Key": "k"}
    first = wan.people.post("/v1/videos/batch", json=requests("a", "b"), headers=headers)
    wan.people.delete(f"/v1/videos/{first.json()['videos'][0]['id']}").raise_for_status()
    again = wan.people.post("/v1/videos/batch", json=requests("a", "b"), headers=headers)
    assert (again.headers["Idempotent-Replayed"], again.json()["id"]) == ("true", first.json()["id"])
    assert [video["error_code"] for video in again.json()["videos"]] == ["deleted", None]
    other = wan.people.post("/v1/videos/batch", json=requests("a", "c"), headers=headers)
    assert other.json()["error"]["code"] == "idempotency_conflict"
    assert prompts(wan) == ["b"]


def test_it_must_find_room_in_the_queue_as_a_whole(wan: Front) -> None:
    wan.people.post("/v1/videos", json={"prompt": "first"}).raise_for_status()
    answer = wan.people.post("/v1/videos/batch", json=requests(*"abcde"))
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "queue_full")
    assert prompts(wan) == ["first"]
    assert wan.people.post("/v1/videos/batch", json=requests(*"abcd")).status_code == 200


def test_photos_come_with_it(svd: Front, photo: bytes) -> None:
    image = "data:image/jpeg;base64," + base64.b64encode(photo).decode()
    body = {"requests": [{"input_reference": image}, {"input_reference": {"image_url": image}}]}
    batch = svd.people.post("/v1/videos/batch", json=body).raise_for_status().json()
    for video in batch["videos"]:
        assert svd.people.get(f"/v1/videos/{video['id']}/content?variant=input").content == photo
    wrong = {"requests": [{"input_reference": image}, {}]}
    error = svd.people.post("/v1/videos/batch", json=wrong).json()["error"]
    assert [(each["index"], each["code"]) for each in error["errors"]] == [(1, "image_required")]
    assert len(list((svd.data_dir / "jobs").iterdir())) == 2


@pytest.mark.parametrize(
    "body",
    [{}, {"requests": []}, {"requests": {}}, {"requests": [1]}, {"request": [{}]}, {"requests": [{}] * 1001}],
)
def test_what_is_no_batch_is_refused(wan: Front, body: dict[str, Any]) -> None:
    answer = wan.people.post("/v1/videos/batch", json=body)
    assert answer.status_code == 400, answer.text
    assert wan.people.get("/v1/videos/batch/batch_0").json()["error"]["code"] == "not_found"
