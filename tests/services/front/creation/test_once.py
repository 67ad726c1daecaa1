"""A request that is sent again makes nothing twice: by its key, or by the count of a client's tries."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import openai
import pytest

from tests.services.front.running import SVD, Front

pytestmark = pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning")
KEY = {"Idempotency-Key": "k"}


def test_create_and_remix_are_made_once_and_a_replay_is_marked(wan: Front) -> None:
    source = wan.people.post("/v1/videos", json={"prompt": "a cat"}).json()
    for path in ("/v1/videos", f"/v1/videos/{source['id']}/remix"):
        headers = {"Idempotency-Key": path}
        first = wan.people.post(path, json={"prompt": "a dog"}, headers=headers)
        again = wan.people.post(path, json={"prompt": "a dog"}, headers=headers)
        assert first.json()["id"] == again.json()["id"] != source["id"]
        assert "Idempotent-Replayed" not in first.headers
        assert again.headers["Idempotent-Replayed"] == "true"
        other = wan.people.post(path, json={"prompt": "a bird"}, headers=headers)
        assert (other.status_code, other.json()["error"]["code"]) == (409, "idempotency_conflict")
    assert len(wan.people.get("/v1/videos").json()["data"]) == 3


def test_sync_is_made_once_and_its_clip_is_sent_again(wan: Front, clip: bytes) -> None:
    worker = threading.Thread(target=wan.worker.make, args=(clip,))
    worker.start()
    first = wan.people.post("/v1/videos/sync", json={"prompt": "a cat"}, headers=KEY)
    worker.join()
    again = wan.people.post("/v1/videos/sync", json={"prompt": "a cat"}, headers=KEY)
    assert again.content == first.content == clip
    assert (again.headers["x-video-id"], again.headers["Idempotent-Replayed"]) == (
        first.headers["x-video-id"], "true",
    )  # fmt: skip


@pytest.mark.parametrize("change", [{"user": "b"}, {"priority": 3}, {"seed": 2}])
def test_a_key_is_not_the_users_of_the_body_and_stands_for_all_of_the_request(
    wan: Front, change: dict[str, Any]
) -> None:
    body = {"prompt": "a cat", "user": "a", "priority": 1, "seed": 1}
    wan.people.post("/v1/videos", json=body, headers=KEY).raise_for_status()
    answer = wan.people.post("/v1/videos", json=body | change, headers=KEY)
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "idempotency_conflict")


def test_a_key_outlives_its_video_and_the_model(wan: Front) -> None:
    first = wan.people.post("/v1/videos", json={"prompt": "a cat", "model": "demo-wan"}, headers=KEY).json()
    wan.people.delete(f"/v1/videos/{first['id']}").raise_for_status()
    wan.plan(SVD)
    again = wan.people.post("/v1/videos", json={"prompt": "a cat", "model": "demo-wan"}, headers=KEY)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert (again.json()["id"], again.json()["error"]["code"]) == (first["id"], "deleted")
    assert again.json()["size"] == first["size"]
    assert wan.people.get("/v1/videos").json()["data"] == []


def test_what_was_refused_may_be_sent_again_with_its_key(wan: Front) -> None:
    bad = wan.people.post("/v1/videos", json={"prompt": "a cat", "size": "1x1"}, headers=KEY)
    assert bad.status_code == 400
    assert wan.people.post("/v1/videos", json={"prompt": "a cat"}, headers=KEY).status_code == 200


def test_many_at_once_make_one_video_and_are_told_while_it_is_taken_in(svd: Front, photo: bytes) -> None:
    def ask(_: int) -> httpx.Response:
        return httpx.post(
            f"{svd.url}/v1/videos", files={"input_reference": photo}, timeout=60,
            headers={"Authorization": f"Bearer {svd.token}"} | KEY,
        )  # fmt: skip

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(16)))
    early = [answer for answer in answers if answer.status_code == 409]
    assert {answer.json()["error"]["code"] for answer in early} <= {"idempotency_in_progress"}
    assert all(answer.headers["Retry-After"] == "1" for answer in early)
    made = {answer.json()["id"] for answer in answers if answer.status_code == 200}
    assert len(made) == 1
    assert len(svd.people.get("/v1/videos").json()["data"]) == 1
    assert len(list((svd.data_dir / "jobs").iterdir())) == 1


class Losing(BaseHTTPRequestHandler):
    """Hands each request on, and hangs up instead of the first answer to a POST."""

    target = ""
    lost = 0

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
        answer = httpx.post(type(self).target + self.path, content=body, headers=headers, timeout=60)
        if type(self).lost == 0:
            type(self).lost += 1
            self.close_connection = True
            return
        self.send_response(answer.status_code)
        for name in ("content-type", "idempotent-replayed"):
            if name in answer.headers:
                self.send_header(name, answer.headers[name])
        self.send_header("content-length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def lossy(wan: Front) -> Iterator[str]:
    """The address of a way to the front that loses the first answer."""
    handler = type("LosingOne", (Losing,), {"target": wan.url, "lost": 0})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_openais_client_that_lost_an_answer_gets_its_first_video(wan: Front, lossy: str) -> None:
    with openai.OpenAI(base_url=f"{lossy}/v1", api_key=wan.token, max_retries=2) as client:
        answer = client.videos.with_raw_response.create(prompt="a cat")
    assert (answer.retries_taken, answer.headers["Idempotent-Replayed"]) == (1, "true")
    assert [video["id"] for video in wan.people.get("/v1/videos").json()["data"]] == [answer.parse().id]


def test_the_same_prompt_twice_is_two_videos_and_a_try_of_another_request_is_new(wan: Front) -> None:
    def ask(prompt: str, tries: int) -> str:
        headers = {"x-stainless-retry-count": str(tries)}
        answer = wan.people.post("/v1/videos", json={"prompt": prompt}, headers=headers)
        return str(answer.json()["id"])

    first, second = ask("a cat", 0), ask("a cat", 0)
    assert first != second
    assert ask("a cat", 1) == ask("a cat", 2) == second
    assert ask("a dog", 1) not in (first, second)  # its first try never arrived


def test_a_remix_needs_a_change(wan: Front) -> None:
    body = {"prompt": "a cat", "seed": 7, "num_frames": 17}
    source = wan.people.post("/v1/videos", json=body).json()
    path = f"/v1/videos/{source['id']}/remix"
    for same in ({}, {"prompt": "a cat"}, {"seed": 7}, {"user": "b"}):
        answer = wan.people.post(path, json=same)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "nothing_changed"), same
    assert wan.people.post(path, json={"seed": 8}).status_code == 200


def test_the_same_photo_may_be_moved_once_more(svd: Front, photo: bytes) -> None:
    source = svd.people.post("/v1/videos", files={"input_reference": photo}).json()
    path = f"/v1/videos/{source['id']}/remix"
    again = svd.people.post(path, json={"prompt": "as it is"}).json()  # what OpenAI's client sends
    assert again["seed"] != source["seed"]
    assert svd.people.post(path, json={}).json()["error"]["code"] == "nothing_changed"
