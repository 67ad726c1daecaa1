"""Clips from a service that runs: what ``generate`` and ``batch`` do with its API, against a real front."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

import pytest

from bootstrap.terminal import Terminal
from services.commands import served
from services.commands.clip_maker import Failed, Made
from tests.services.front.conftest import bare, clip, photo, svd
from tests.services.front.running import Front

__all__ = ["bare", "clip", "photo", "svd"]
Make = Callable[..., Made]


@pytest.fixture
def lines() -> list[str]:
    """What the maker reported."""
    return []


@pytest.fixture
def make(svd: Front, photo: bytes, lines: list[str], tmp_path: Path) -> Iterator[Make]:
    """Makes one clip of a photo, from the front that runs."""
    svd.boot(state="ready", phases=[], findings=[], failure=None)
    svd.worker.says("ready")
    record = {"auth": True, "token_file": str(svd.data_dir / "token"), "local_url": svd.url}
    (tmp_path / "photo.jpg").write_bytes(photo)
    with (tmp_path / "terminal").open("w") as file:
        yield lambda **given: asyncio.run(_made(record, file, tmp_path, lines, given))


async def _made(
    record: dict[str, Any], file: TextIO, folder: Path, lines: list[str], given: dict[str, Any]
) -> Made:
    async with served.connect(record, Terminal(file)) as maker:
        assert (maker.model, maker.inputs) == ("demo", ("image",))
        return await maker.make(given, folder / "photo.jpg", folder / "clip.mp4", lines.append)


def test_a_clip_comes_as_a_file_with_what_it_was_made_from(
    make: Make, svd: Front, clip: bytes, lines: list[str]
) -> None:
    worker = threading.Thread(target=svd.worker.make, args=(clip,))
    worker.start()
    made = make(seed=7, motion_bucket_id=40)
    worker.join()
    assert (made.path.read_bytes(), made.seed, made.frames, made.size) == (clip, 7, 14, "256x128")
    assert lines[0].startswith(("queued", "  0 %", "100 %"))


def test_a_full_queue_is_told_and_waited_for(
    make: Make, svd: Front, clip: bytes, photo: bytes, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served, "FULL_SECONDS", 0.2)
    for _ in range(5):
        svd.people.post("/v1/videos", files={"input_reference": photo}).raise_for_status()
    worker = threading.Thread(target=lambda: [svd.worker.make(clip) for _ in range(6)])
    threading.Timer(1.0, worker.start).start()
    assert make().path.read_bytes() == clip
    worker.join()
    assert "waiting: the service's queue is full" in lines


def test_what_the_service_says_is_what_the_command_says(make: Make, svd: Front) -> None:
    with pytest.raises(Failed, match="fps 50") as refused:
        make(fps=50)
    assert refused.value.fix


def test_a_clip_that_failed_is_told_with_its_reason(make: Make, svd: Front) -> None:
    def fail() -> None:
        error = {"code": "out_of_memory", "message": "20 GiB wanted, 16 there"}
        svd.worker.finish(svd.worker.claimed(), "failed", error=error)

    worker = threading.Thread(target=fail)
    worker.start()
    with pytest.raises(Failed, match="20 GiB wanted"):
        make()
    worker.join()
