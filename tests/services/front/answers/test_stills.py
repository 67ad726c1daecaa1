"""Pictures of clips: made one at a time in little memory, and never a 500 for what happens beside them."""

from __future__ import annotations

import io
import threading
from pathlib import Path

import pytest
from fastapi import APIRouter
from PIL import Image

from services.front.answers import stills
from services.front.settings import Settings
from tests.services.front.front_process import rss_mib, started
from tests.services.front.running import WAN, Front, running


def made(front: Front, clip: bytes) -> str:
    front.people.post("/v1/videos", json={"prompt": "a cat"}).raise_for_status()
    return front.worker.make(clip)


def long_clip(path: Path) -> bytes:
    """121 frames of 1280x720, which are 335 MB once decoded."""
    import av
    import numpy as np

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=24, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuv420p"
        for number in range(121):
            picture = np.full((720, 1280, 3), number * 2, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path.read_bytes()


def test_many_spritesheets_at_once_take_little_memory(tmp_path: Path) -> None:
    clip = long_clip(tmp_path / "clip.mp4")
    with started(tmp_path, WAN) as (front, process):
        names = [made(front, clip) for _ in range(4)]
        before = rss_mib(process)
        answers: list[bytes] = []

        def ask(name: str) -> None:
            answer = front.people.get(f"/v1/videos/{name}/content", params={"variant": "spritesheet"})
            answers.append(answer.raise_for_status().content)

        threads = [threading.Thread(target=ask, args=(name,)) for name in names * 3]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            assert front.people.get(f"/v1/videos/{names[0]}").status_code == 200
            assert rss_mib(process) - before < 300
        assert len(answers) == 12
        sheet = Image.open(io.BytesIO(answers[0]))
        assert sheet.size == (stills.COLUMNS * stills.TILE_WIDTH, 5 * 108)
        grey = sheet.convert("L").resize((5, 5), Image.Resampling.BOX).tobytes()
        assert list(grey) == sorted(grey)  # the clip grows brighter
        assert grey[-1] > grey[0] + 200


def test_a_thumbnail_is_the_frame_in_the_middle(wan: Front, clip: bytes) -> None:
    answer = wan.people.get(f"/v1/videos/{made(wan, clip)}/content", params={"variant": "thumbnail"})
    picture = Image.open(io.BytesIO(answer.content))
    assert picture.size == (256, 128)
    assert picture.convert("L").getpixel((9, 9)) == pytest.approx(7 * 18, abs=6)


def test_a_damaged_clip_is_told_and_its_bytes_stay_readable(wan: Front, clip: bytes) -> None:
    for broken in (b"no clip at all", clip[:900]):
        name = made(wan, broken)
        for variant in ("thumbnail", "spritesheet"):
            answer = wan.people.get(f"/v1/videos/{name}/content", params={"variant": variant})
            assert (answer.status_code, answer.json()["error"]["code"]) == (409, "content_damaged")
        assert wan.people.get(f"/v1/videos/{name}/content").content == broken


def test_reads_beside_a_delete_are_answered_and_no_folder_stays(wan: Front, clip: bytes) -> None:
    for _ in range(4):
        name = made(wan, clip)
        seen: list[int] = []

        def read(variant: str, name: str = name, seen: list[int] = seen) -> None:
            answer = wan.people.get(f"/v1/videos/{name}/content", params={"variant": variant})
            seen.append(answer.status_code)

        threads = [
            threading.Thread(target=read, args=(variant,))
            for variant in ("video", "thumbnail", "spritesheet") * 4
        ]
        for thread in threads:
            thread.start()
        wan.people.delete(f"/v1/videos/{name}").raise_for_status()
        for thread in threads:
            thread.join()
        assert len(seen) == 12
        assert set(seen) <= {200, 404}
    assert list((wan.data_dir / "jobs").iterdir()) == []


def test_a_file_that_was_opened_is_sent_to_its_end(wan: Front, clip: bytes) -> None:
    whole = clip + bytes(30_000_000)  # more than the sockets hold
    name = made(wan, whole)
    with wan.people.stream("GET", f"/v1/videos/{name}/content") as answer:
        blocks = answer.iter_bytes()
        got = [next(blocks)]
        wan.people.delete(f"/v1/videos/{name}").raise_for_status()
        got += blocks
    assert b"".join(got) == whole


def test_an_id_in_a_query_is_checked_as_one_in_a_path(wan: Front) -> None:
    for wrong in ("%00", "a b", "../x", "x" * 65):
        answer = wan.people.get(f"/v1/videos?after={wrong}")
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "after")


def test_a_bug_is_one_answer_and_the_connection_lives_on(tmp_path: Path) -> None:
    door = APIRouter()

    @door.get("/bug")
    async def bug() -> None:
        raise LookupError("nobody expected this")

    ports = set()
    with running(Settings(tmp_path, auth=False), door) as front:
        for _ in range(2):
            answer = front.anybody.get("/bug")
            error = answer.json()["error"]
            assert (answer.status_code, error["code"]) == (500, "internal")
            assert "bug_" in error["message"]
            assert error["request_id"] == answer.headers["x-request-id"]
            assert answer.headers.get("connection") != "close"
            ports.add(answer.extensions["network_stream"].get_extra_info("client_addr"))
    assert len(ports) == 1
