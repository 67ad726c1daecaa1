"""Clips of a real front arrive on this machine: whole, with their settings, also after a broken line."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from bootstrap.errors import KitError
from bootstrap.rent.clips import Box, BoxError
from services.front.settings import Settings
from tests.services.front.running import WAN, Front, running

MP4 = bytes(range(256)) * 4096


@pytest.fixture
def front(tmp_path: Path) -> Iterator[Front]:
    data_dir = tmp_path / "box"
    data_dir.mkdir()
    (data_dir / "token").write_text("t0ken\n")
    with running(Settings(data_dir, max_queued=200)) as found:
        found.plan(WAN)
        yield found


def made(front: Front, content: bytes = MP4) -> str:
    front.people.post("/v1/videos", json={"prompt": "a cat"}).raise_for_status()
    return front.worker.make(content)


def test_a_clip_arrives_whole_with_its_settings(front: Front, tmp_path: Path) -> None:
    id = made(front)
    with Box(front.url, front.token) as box:
        (clip,) = box.clips().finished
        path = box.copy(clip, tmp_path / "clips")
    assert path.read_bytes() == MP4
    assert path.name.endswith(f"-{id}.mp4")
    settings = json.loads(path.with_suffix(".json").read_text())
    assert settings["prompt"] == "a cat"
    assert settings["parameters"]["num_frames"] == 81


def test_what_waits_is_counted_and_what_was_pulled_is_not_missing(front: Front) -> None:
    ids = [made(front) for _ in range(3)]
    front.people.post("/v1/videos", json={"prompt": "later"}).raise_for_status()
    with Box(front.url, front.token) as box:
        clips = box.clips()
    assert clips.coming == 1
    assert [clip.id for clip in clips.missing((ids[0], ids[2]))] == [ids[1]]


def test_who_only_watches_does_not_keep_the_box_from_its_idle_stop(front: Front, tmp_path: Path) -> None:
    def unused_seconds() -> float:
        status = front.people.get("/status", headers={"X-Kinokit-Unattended": "1"}).json()
        return float(status["unused_seconds"])

    made(front)
    time.sleep(0.5)
    before = unused_seconds()
    with Box(front.url, front.token) as box:
        (clip,) = box.clips().finished
        assert unused_seconds() >= before >= 0.5
        box.copy(clip, tmp_path / "clips")
    assert unused_seconds() < before


def test_every_page_of_the_list_is_read(front: Front) -> None:
    for _ in range(105):
        made(front, b"x")
    with Box(front.url, front.token) as box:
        assert len({clip.id for clip in box.clips().finished}) == 105


def test_it_goes_on_where_the_line_broke(front: Front, tmp_path: Path) -> None:
    made(front)
    with Box(front.url, front.token) as box:
        (clip,) = box.clips().finished
        (tmp_path / f"{clip.name}.mp4.part").write_bytes(MP4[:1000])
        assert box.copy(clip, tmp_path).read_bytes() == MP4


@pytest.mark.parametrize("left", [MP4, MP4 + b"more"])
def test_a_part_that_is_too_long_is_begun_anew(front: Front, tmp_path: Path, left: bytes) -> None:
    made(front)
    with Box(front.url, front.token) as box:
        (clip,) = box.clips().finished
        (tmp_path / f"{clip.name}.mp4.part").write_bytes(left)
        assert box.copy(clip, tmp_path).read_bytes() == MP4


def test_a_wrong_token_is_said(front: Front) -> None:
    with Box(front.url, "another") as box, pytest.raises(BoxError, match="refuses the token"):
        box.clips()


def test_a_folder_that_is_none_is_said(front: Front, tmp_path: Path) -> None:
    made(front)
    (tmp_path / "file").write_text("")
    with Box(front.url, front.token) as box, pytest.raises(KitError, match="cannot be written"):
        box.copy(box.clips().finished[0], tmp_path / "file")


class Cutting(BaseHTTPRequestHandler):
    """A box at a stranger's: it cuts the line after 300000 bytes, and names a clip by a path."""

    ranges: ClassVar[list[str | None]] = []

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        if self.path.startswith("/v1/videos?"):
            rows = [{"id": id, "created_at": 0, "status": "completed"} for id in ("good", "../../evil")]
            body = json.dumps({"data": rows, "has_more": False}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            return
        asked = self.headers.get("Range")
        self.ranges.append(asked)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(MP4) - start))
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{len(MP4) - 1}/{len(MP4)}")
        self.end_headers()
        self.wfile.write(MP4[start : start + 300_000])
        self.close_connection = True


def test_a_line_that_is_cut_again_and_again_loses_nothing(tmp_path: Path) -> None:
    Cutting.ranges.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Cutting) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        with Box(f"http://127.0.0.1:{server.server_port}", None) as box:
            (clip,) = box.clips().finished  # the other one's id is no name
            assert box.copy(clip, tmp_path).read_bytes() == MP4
        server.shutdown()
    assert Cutting.ranges == [None, "bytes=300000-", "bytes=600000-", "bytes=900000-"]
    assert {path.name for path in tmp_path.iterdir()} == {
        "19700101-000000-good.mp4",
        "19700101-000000-good.json",
    }
