"""The Python client against a real front: both flavours keep the same promises."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.client import (
    AsyncKinokit,
    Conflict,
    Kinokit,
    KinokitError,
    NotFound,
    QueueFull,
    Refused,
    Unreachable,
    VideoFailed,
    WrongToken,
)
from tests.services.front.running import WAN, Front

Connect = Callable[..., Any]


class Awaited:
    """``AsyncKinokit``, each of whose methods is waited for; what it lists comes as a list."""

    def __init__(self, runner: asyncio.Runner, *given: Any, **more: Any) -> None:
        async def made() -> AsyncKinokit:
            return AsyncKinokit(*given, **more)

        self._runner = runner
        self._client = runner.run(made())

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)

        async def collected(*given: Any, **more: Any) -> Any:
            found = method(*given, **more)
            return [each async for each in found] if inspect.isasyncgen(found) else await found

        return lambda *given, **more: self._runner.run(collected(*given, **more))


@pytest.fixture(params=["sync", "async"])
def connect(request: pytest.FixtureRequest) -> Iterator[Connect]:
    made: list[Any] = []
    with asyncio.Runner() as runner:

        def connect(url: str, token: str | None = None, **more: Any) -> Any:
            kind = (
                Kinokit
                if request.param == "sync"
                else (lambda *given, **rest: Awaited(runner, *given, **rest))
            )
            made.append(kind(url, token, **more))
            return made[-1]

        yield connect
        for each in made:
            each.close()


@pytest.fixture
def kit(connect: Connect, wan: Front) -> Any:
    return connect(wan.url, wan.token, patience_seconds=30)


def test_a_video_is_made_waited_for_and_fetched(kit: Any, wan: Front, clip: bytes, tmp_path: Path) -> None:
    video = kit.create("a cat", num_frames=17, seed=7, lora=False)
    assert (video.status, video.prompt, video.seed, video.num_frames) == ("queued", "a cat", 7, 17)
    worker = threading.Thread(target=wan.worker.make, args=(clip,))
    worker.start()
    done = kit.wait(video.id, timeout_seconds=60)
    worker.join()
    assert (done.id, done.status, done.progress, done.has_ended) == (video.id, "completed", 100, True)
    assert kit.download(video.id, tmp_path / "clip.mp4").read_bytes() == clip
    kit.download(video.id, tmp_path / "still.webp", variant="thumbnail")
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix in (".mp4", ".webp", ".part")) == [
        "clip.mp4", "still.webp",
    ]  # fmt: skip


def test_photos_go_as_files_or_bytes(connect: Connect, svd: Front, photo: bytes, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(photo)
    kit = connect(svd.url, svd.token)
    for image in (photo, tmp_path / "photo.jpg"):
        video = kit.create(image=image, motion_bucket_id=40)
        kept = svd.people.get(f"/v1/videos/{video.id}/content?variant=input")
        assert (kept.content, video.raw["parameters"]["motion_bucket_id"]) == (photo, 40)


def test_lists_go_through_all_pages(kit: Any) -> None:
    made = [kit.create(f"cat {number}").id for number in range(5)]
    assert [video.id for video in kit.list(order="asc", page_size=2)] == made
    assert [video.id for video in kit.list(page_size=2)] == made[::-1]


def test_remix_cancel_delete_batch_and_models(kit: Any) -> None:
    video = kit.create("a cat", seed=7)
    remix = kit.remix(video.id, prompt="a dog")
    assert (remix.prompt, remix.seed, remix.raw["remixed_from_video_id"]) == ("a dog", 7, video.id)
    assert kit.cancel(video.id).error_code == "cancelled"
    kit.delete(video.id)
    with pytest.raises(NotFound):
        kit.retrieve(video.id)
    batch = kit.batch([{"prompt": "a"}, {"prompt": "b"}])
    assert kit.retrieve_batch(batch.id).video_ids == batch.video_ids
    assert (len(batch.video_ids), batch.counts["queued"]) == (2, 2)
    (model,) = kit.models()
    assert (model.id, model.inputs) == (WAN["model"], ("text",))
    assert "num_frames" in model.parameters


def test_mistakes_are_exceptions_with_code_and_fix(kit: Any, connect: Connect, wan: Front) -> None:
    with pytest.raises(Refused) as bad:
        kit.create("a cat", size="831x480")
    assert (bad.value.code, bad.value.param, bad.value.status) == ("invalid_value", "size", 400)
    assert bad.value.fix in str(bad.value)
    assert (bad.value.request_id or "").startswith("req_")
    with pytest.raises(WrongToken):
        list(connect(wan.url, "wrong").list())
    with pytest.raises(Refused) as wrong:
        kit.batch([{"prompt": "a"}, {"prompt": "b", "fps": 0}])
    assert [each["index"] for each in wrong.value.errors] == [1]
    video = kit.create("a cat")
    with pytest.raises(Conflict) as early:
        kit.download(video.id, Path("/nowhere/clip.mp4"))
    assert early.value.code == "not_finished"
    hasty = connect(wan.url, wan.token, patience_seconds=0)
    with pytest.raises(QueueFull):
        for _ in range(6):
            hasty.create("a cat")
    with pytest.raises(Unreachable):
        connect("http://127.0.0.1:9", patience_seconds=0).models()


def test_a_failed_video_raises_its_own_code_and_a_slow_one_a_timeout(kit: Any, wan: Front) -> None:
    video = kit.create("a cat")
    with pytest.raises(TimeoutError):
        kit.wait(video.id, timeout_seconds=0.01)
    error = {"code": "out_of_memory", "message": "20 GiB wanted, 16 there"}
    wan.worker.finish(wan.worker.claimed(), "failed", error=error).raise_for_status()
    with pytest.raises(VideoFailed) as failed:
        kit.wait(video.id)
    assert (failed.value.code, failed.value.message) == ("out_of_memory", "20 GiB wanted, 16 there")
    assert isinstance(failed.value, KinokitError)


class Breaking(BaseHTTPRequestHandler):
    """Hands each request on; the first answer to a POST is lost, the first content breaks off halfway."""

    target = ""
    lost: list[str]
    protocol_version = "HTTP/1.0"

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
        answer = httpx.request(
            self.command, self.target + self.path, content=body, headers=headers, timeout=60
        )
        is_first = self.command not in self.lost
        self.lost.append(self.command)
        if self.command == "POST" and is_first:
            return
        self.send_response(answer.status_code)
        for name in ("content-type", "etag", "content-range", "idempotent-replayed", "content-length"):
            if name in answer.headers:
                self.send_header(name, answer.headers[name])
        self.end_headers()
        breaks = is_first and self.command == "GET"
        self.wfile.write(answer.content[: len(answer.content) // 2] if breaks else answer.content)

    do_GET = do_POST = do_HEAD = _pass

    def log_message(self, *_: object) -> None:
        pass


def test_a_bad_way_makes_nothing_twice_and_fetches_the_rest_alone(
    connect: Connect, wan: Front, clip: bytes, tmp_path: Path
) -> None:
    handler = type("BreakingOne", (Breaking,), {"target": wan.url, "lost": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        kit = connect(f"http://127.0.0.1:{server.server_port}", wan.token, patience_seconds=30)
        video = kit.create("a cat")
        assert video.is_replay
        assert len(wan.people.get("/v1/videos").json()["data"]) == 1
        wan.worker.make(clip)
        assert kit.download(video.id, tmp_path / "clip.mp4").read_bytes() == clip
        server.shutdown()
        thread.join()
    assert handler.lost.count("GET") == 2  # type: ignore[attr-defined]
    assert not list(tmp_path.glob(".*.part"))
