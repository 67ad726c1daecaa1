"""Edits and extensions start from a frame of another video: one that was made here, or a file."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
from PIL import Image

from services.video import frame
from tests.services.front.running import WAN, Front

pytestmark = pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning")
READS_PHOTOS = WAN | {"inputs": ("text", "image"), "optional_inputs": ("image",)}


@pytest.fixture
def both(bare: Front) -> Front:
    """A front whose model reads a prompt and a photo."""
    bare.plan(READS_PHOTOS)
    return bare


@pytest.fixture
def client(both: Front) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{both.url}/v1", api_key=both.token, max_retries=0) as client:
        yield client


def photo_of(front: Front) -> tuple[dict[str, Any], Image.Image]:
    """The next job, and the photo that it starts from."""
    job = front.worker.claimed()
    answer = front.worker.http.get(f"/jobs/{job['id']}/input", params={"token": job["token"]})
    front.worker.finish(job, "failed", error={"code": "x", "message": "x"}).raise_for_status()
    return job, Image.open(io.BytesIO(answer.raise_for_status().content)).convert("L")


def tone(picture: Image.Image) -> int:
    """How bright its middle is; frame N of the clip of the tests has about 18 N."""
    return int(np.asarray(picture)[picture.height // 2, picture.width // 2])


def test_an_edit_starts_from_the_first_frame_of_a_file(
    client: openai.OpenAI, both: Front, clip: bytes
) -> None:
    video = client.videos.edit(prompt="it snows", video=("clip.mp4", clip, "video/mp4"))
    assert (video.status, video.prompt, video.remixed_from_video_id) == ("queued", "it snows", None)
    job, photo = photo_of(both)
    assert (job["id"], photo.size) == (video.id, (256, 128))
    assert tone(photo) < 12


def test_an_extension_goes_on_from_the_last_frame_of_a_file(
    client: openai.OpenAI, both: Front, clip: bytes
) -> None:
    video = client.videos.extend(prompt="it snows", seconds="4", video=("clip.mp4", clip, "video/mp4"))
    assert 3.7 < float(video.seconds) < 4.3
    assert tone(photo_of(both)[1]) > 220


def test_a_video_that_was_made_here_is_named_and_lends_its_shape(both: Front, clip: bytes) -> None:
    body = {"prompt": "a cat", "size": "256x128", "num_frames": 17, "fps": 8}
    both.people.post("/v1/videos", json=body).raise_for_status()
    name = both.worker.make(clip)
    for verb, bright in (("edits", False), ("extensions", True)):
        asked = {"prompt": "it snows", "seconds": 2, "video": {"id": name}}
        answer = both.people.post(f"/v1/videos/{verb}", json=asked)
        assert answer.status_code == 200, answer.text
        video = answer.json()
        assert (video["remixed_from_video_id"], video["size"], video["fps"]) == (name, "256x128", 8)
        assert (tone(photo_of(both)[1]) > 220) == bright
    form = {"prompt": (None, "x"), "seconds": (None, "2"), "video[id]": (None, name)}
    assert both.people.post("/v1/videos/extensions", files=form).json()["remixed_from_video_id"] == name


def test_an_edit_may_start_from_any_moment(both: Front, clip: bytes) -> None:
    form = {"prompt": "it snows", "at_seconds": "1"}
    both.people.post("/v1/videos/edits", data=form, files={"video": clip}).raise_for_status()
    assert 110 < tone(photo_of(both)[1]) < 142  # frame 7 of 14
    bad = both.people.post("/v1/videos/edits", data=form | {"at_seconds": "soon"}, files={"video": clip})
    assert (bad.status_code, bad.json()["error"]["param"]) == (400, "at_seconds")


def test_each_is_made_once_for_its_key(both: Front, clip: bytes) -> None:
    def ask(video: bytes) -> Any:
        return both.people.post(
            "/v1/videos/edits", data={"prompt": "x"}, files={"video": video}, headers={"Idempotency-Key": "k"}
        )

    first, again = ask(clip), ask(clip)
    assert (again.json()["id"], again.headers["Idempotent-Replayed"]) == (first.json()["id"], "true")
    assert ask(clip + b"\0").json()["error"]["code"] == "idempotency_conflict"


@pytest.mark.parametrize("verb", ["edits", "extensions"])
def test_what_is_missing_or_broken_is_told(both: Front, clip: bytes, verb: str) -> None:
    path, post = f"/v1/videos/{verb}", both.people.post
    whole = {"prompt": "x", "seconds": "2"}
    cases: list[tuple[Any, int, str]] = [
        (post(path, data=whole, files={"video": b"no video"}), 400, "video_unreadable"),
        (post(path, data=whole, files={"video": clip[: len(clip) // 8]}), 400, "video_unreadable"),
        (post(path, data=whole, files={"video": b""}), 400, "video_unreadable"),
        (post(path, json=whole), 400, "video_required"),
        (post(path, json=whole | {"video": {"id": "video_0"}}), 404, "not_found"),
        (post(path, json=whole | {"video": {"id": 5}}), 400, "video_required"),
        (post(path, data={"seconds": "2"}, files={"video": clip}), 400, "prompt_required"),
        (post(path, json=whole | {"video": {"id": "video_0"}, "nun_frames": 3}), 400, "unknown_field"),
        (post(path, content=b"[]", headers={"content-type": "application/json"}), 400, "invalid_json"),
        (post(path, content=b"x", headers={"content-type": "video/mp4"}), 415, "unsupported_media_type"),
    ]
    found = [(answer.status_code, answer.json()["error"]["code"]) for answer, _, _ in cases]
    assert found == [(status, code) for _, status, code in cases]
    waiting = post("/v1/videos", json={"prompt": "x"}).json()["id"]
    answer = post(path, json=whole | {"video": {"id": waiting}})
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "not_finished")


def test_an_extension_needs_a_length(both: Front, clip: bytes) -> None:
    answer = both.people.post("/v1/videos/extensions", data={"prompt": "x"}, files={"video": clip})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "seconds")


def test_a_model_that_reads_no_image_says_what_works(wan: Front, clip: bytes) -> None:
    for verb in ("edits", "extensions"):
        answer = wan.people.post(f"/v1/videos/{verb}", data={"prompt": "x"}, files={"video": clip})
        assert (answer.status_code, answer.json()["error"]["code"]) == (501, "not_offered")
        assert "starts from an image" in answer.json()["error"]["fix"]
        assert answer.headers["x-should-retry"] == "false"


def test_a_file_that_is_made_to_be_dear_ends_by_its_limits(tmp_path: Path) -> None:
    """Many frames of almost no bytes: the decoder stops at its limit, and nothing is kept in memory."""
    import av

    file = tmp_path / "long.mp4"
    with av.open(str(file), "w") as container:
        stream = container.add_stream("mpeg4", rate=60)
        stream.width, stream.height, stream.pix_fmt = 16, 16, "yuv420p"
        still = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")
        for number in range(frame.MAX_FRAMES + 1):
            still.pts = number
            container.mux(stream.encode(still))
        container.mux(stream.encode())
    with pytest.raises(frame.Unread, match="more than 10000 frames"):
        frame.read(file, "last")
    assert frame.read(file, "first").startswith(b"\x89PNG")
