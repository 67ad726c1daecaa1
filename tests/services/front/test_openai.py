"""The real ``openai`` client against the real front."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator

import httpx
import openai
import pytest

from tests.services.front.running import Front

pytestmark = pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning")


@pytest.fixture
def client(wan: Front) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{wan.url}/v1", api_key=wan.token, max_retries=0) as client:
        yield client


def test_a_prompt_becomes_a_video(client: openai.OpenAI, wan: Front, clip: bytes) -> None:
    """Since its form never has a file, servers that ask for one cannot be used with it."""
    worker = threading.Thread(target=wan.worker.make, args=(clip,))
    worker.start()
    video = client.videos.create_and_poll(prompt="a cat", seconds="5", size="832x480", poll_interval_ms=100)  # type: ignore[arg-type]
    worker.join()
    assert (video.status, video.progress, video.error) == ("completed", 100, None)
    assert (video.size, video.seconds, video.prompt) == ("832x480", "5.06", "a cat")
    assert client.videos.download_content(video.id).read() == clip


def test_extra_fields_arrive_as_what_they_are(client: openai.OpenAI) -> None:
    extra = {"num_frames": 17, "seed": 42, "lora": False, "guidance_scale": 4.5}
    video = client.videos.create(prompt="a cat", extra_body=extra)
    assert video.model_extra is not None
    values = video.model_extra["parameters"]
    assert {name: values[name] for name in extra} == extra
    assert video.model_extra["seed"] == 42


def test_a_photo_travels_with_the_form(client: openai.OpenAI, wan: Front, photo: bytes) -> None:
    from tests.services.front.running import SVD

    wan.plan(SVD)
    client.videos.create(prompt="", input_reference=("photo.jpg", photo, "image/jpeg"))
    job = wan.worker.claimed()
    answer = wan.worker.http.get(f"/jobs/{job['id']}/input", params={"token": job["token"]})
    assert answer.content == photo


def test_lists_are_paged_by_the_client_itself(client: openai.OpenAI) -> None:
    made = [client.videos.create(prompt=f"cat {number}").id for number in range(5)]
    assert [video.id for video in client.videos.list(limit=2, order="asc")] == made
    assert [video.id for video in client.videos.list(limit=3)] == made[::-1]
    page = client.videos.list(limit=2)
    assert (page.has_more, page.last_id) == (True, made[3])


def test_delete_answers_with_its_object(client: openai.OpenAI) -> None:
    video = client.videos.create(prompt="a cat")
    answer = client.videos.delete(video.id)
    assert answer.to_dict() == {"id": video.id, "object": "video.deleted", "deleted": True}
    with pytest.raises(openai.NotFoundError):
        client.videos.retrieve(video.id)


def test_a_remix_knows_what_it_came_from(client: openai.OpenAI) -> None:
    video = client.videos.create(prompt="a cat", extra_body={"seed": 7, "num_frames": 17})
    remix = client.videos.remix(video.id, prompt="a dog")
    assert (remix.prompt, remix.remixed_from_video_id) == ("a dog", video.id)
    assert remix.model_extra is not None
    assert video.model_extra is not None
    assert remix.model_extra["parameters"] == video.model_extra["parameters"] | {"prompt": "a dog"}


def test_mistakes_become_the_clients_exceptions(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        client.videos.retrieve("video_0")
    assert (missing.value.code, missing.value.type) == ("not_found", "invalid_request_error")
    with pytest.raises(openai.BadRequestError) as bad:
        client.videos.create(prompt="a cat", size="831x480")  # type: ignore[arg-type]
    assert (bad.value.param, bad.value.code) == ("size", "invalid_value")
    with pytest.raises(openai.NotFoundError) as model:
        client.videos.create(prompt="a cat", model="sora-2")
    assert (model.value.param, model.value.code) == ("model", "model_not_found")
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="wrong").videos.list()
    for _ in range(5):
        client.videos.create(prompt="a cat")
    with pytest.raises(openai.RateLimitError) as full:
        client.videos.create(prompt="one too many")
    assert full.value.code == "queue_full"
    assert int(full.value.response.headers["retry-after"]) >= 1


def test_before_the_model_is_there_the_client_is_told_to_wait(bare: Front) -> None:
    with openai.OpenAI(base_url=f"{bare.url}/v1", api_key=bare.token, max_retries=0) as client:
        with pytest.raises(openai.InternalServerError) as early:
            client.videos.create(prompt="a cat")
        assert early.value.status_code == 503
        assert early.value.code == "not_ready"
        assert "retry-after" in early.value.response.headers


def test_a_failed_video_carries_its_error(client: openai.OpenAI, wan: Front) -> None:
    video = client.videos.create(prompt="a cat")
    error = {"code": "out_of_memory", "message": "20 GiB wanted, 16 there"}
    wan.worker.finish(wan.worker.claimed(), "failed", error=error).raise_for_status()
    seen = client.videos.poll(video.id)
    assert seen.status == "failed"
    assert seen.error is not None
    assert seen.error.to_dict() == error
    with pytest.raises(openai.NotFoundError) as none:
        client.videos.download_content(video.id)
    assert none.value.code == "out_of_memory"


def test_what_the_model_cannot_do_is_said_not_a_missing_page(client: openai.OpenAI) -> None:
    for ask in (
        lambda: client.videos.edit(prompt="x", video=("v.mp4", b"x", "video/mp4")),
        lambda: client.videos.extend(prompt="x", seconds="4", video=("v.mp4", b"x", "video/mp4")),
        lambda: client.videos.create_character(name="x", video=("v.mp4", b"x", "video/mp4")),
        lambda: client.videos.get_character("c"),
    ):
        with pytest.raises(openai.APIStatusError) as none:
            ask()
        assert (none.value.status_code, none.value.code) == (501, "not_offered")


def test_pictures_of_the_clip_are_made_when_asked_for(client: openai.OpenAI, wan: Front, clip: bytes) -> None:
    import io

    import numpy as np
    from PIL import Image

    video = client.videos.create(prompt="a cat")
    wan.worker.make(clip)
    thumbnail = Image.open(io.BytesIO(client.videos.download_content(video.id, variant="thumbnail").read()))
    assert (thumbnail.format, thumbnail.size) == ("WEBP", (256, 128))
    sheet = Image.open(io.BytesIO(client.videos.download_content(video.id, variant="spritesheet").read()))
    assert (sheet.format, sheet.size) == ("JPEG", (5 * 192, 3 * 96))  # 14 frames, five in a row
    grey = np.asarray(sheet.convert("L"))
    tones = [int(grey[48 + 96 * (n // 5), 96 + 192 * (n % 5)]) for n in range(14)]
    assert tones == sorted(tones)
    assert tones[0] < 40 < 200 < tones[-1]


def test_the_clients_models_list_works(client: openai.OpenAI) -> None:
    models = client.models.list()
    assert [model.id for model in models] == ["demo-wan"]
    assert client.models.retrieve("demo-wan").created > 1_600_000_000


def test_every_error_has_the_same_fields(wan: Front) -> None:
    people, post = wan.people, wan.people.post
    answers: list[httpx.Response] = [
        people.get("/nowhere"),
        people.put("/v1/videos"),
        people.get("/v1/videos/a%20b"),
        people.get("/v1/videos/video_0"),
        people.get("/v1/videos?limit=101"),
        people.get("/v1/videos?order=up"),
        people.get("/v1/videos?after=video_0"),
        people.get("/v1/models/sora-2"),
        post("/v1/videos", content=b"{", headers={"content-type": "application/json"}),
        post("/v1/videos", content=b"[1]", headers={"content-type": "application/json"}),
        post("/v1/videos", content=b"x", headers={"content-type": "text/plain"}),
        post("/v1/videos", content=b"x", headers={"content-type": "multipart/form-data"}),
        post("/v1/videos", json={"prompt": "x", "nun_frames": 5}),
        wan.anybody.get("/v1/videos"),
        wan.anybody.post("/internal/claim", json={}),
        wan.worker.http.post("/claim", json={}),
        wan.worker.http.post("/jobs/x/beat", json={"token": 1}),
    ]
    for answer in answers:
        assert answer.status_code >= 400
        error = json.loads(answer.content)["error"]
        assert set(error) == {"message", "type", "param", "code", "fix", "request_id"}, answer.url
        assert error["message"], answer.url
        assert error["fix"], answer.url
        assert error["code"], answer.url
    assert [answer.status_code for answer in answers] == [
        404,
        405,
        400,
        404,
        400,
        400,
        404,
        404,
        400,
        400,
        415,
        400,
        400,
        401,
        401,
        400,
        409,
    ]
