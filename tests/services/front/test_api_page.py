"""docs/api.md: each of its lines is run as it is typed, in the order of the page, against a real front."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.front.settings import Settings
from tests.services.front.running import SVD, WAN, Front, running

PAGE = (Path(__file__).parents[3] / "docs/api.md").read_text(encoding="utf-8")
BOTH = WAN | {"inputs": ("text", "image"), "optional_inputs": ("image",)}
MOVES_PHOTOS = "motion_bucket_id"  # in a line that is for the other kind of model


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def typed() -> list[str]:
    """The lines of the block with curl, comments left out."""
    (block,) = re.findall(r"^```\n(export KINOKIT_TOKEN.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return [re.sub(r"\s+# .*$", "", line) for line in block.splitlines()]


@pytest.fixture
def front(tmp_path: Path, clip: bytes, photo: bytes) -> Iterator[Front]:
    """With a worker that makes each clip at once."""
    (tmp_path / "photo.jpg").write_bytes(photo)
    with running(Settings(tmp_path / "data")) as front:
        front.plan(BOTH)
        ends = threading.Event()

        def work() -> None:
            while not ends.is_set():
                front.worker.models = [SVD["model"], WAN["model"]]
                job = front.worker.claim(1)
                if job is not None and front.worker.put(job, clip).is_success:
                    front.worker.finish(job)

        worker = threading.Thread(target=work)
        worker.start()
        yield front
        ends.set()
        worker.join()


def test_every_line_for_curl_works_as_it_is_typed(front: Front, tmp_path: Path, clip: bytes) -> None:
    export, alias, *lines = typed()
    assert len(lines) >= 15
    start = [export.replace("…", front.token), "shopt -s expand_aliases", alias]
    video_id = ""
    for line in lines:
        front.plan(SVD if MOVES_PHOTOS in line else BOTH)
        command = line.replace("http://HOST:PORT", front.url).replace("VIDEO_ID", video_id)
        done = subprocess.run(
            ["bash", "-c", "\n".join([*start, command])],
            cwd=tmp_path, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, (line, done.stderr)
        assert '"error":{' not in done.stdout.replace(" ", ""), (line, done.stdout)
        if not video_id:
            video_id = str(re.search(r'"id":"(video_\w+)"', done.stdout)[1])  # type: ignore[index]
    assert (tmp_path / "clip.mp4").read_bytes() == clip
    assert (tmp_path / "sheet.jpg").read_bytes().startswith(b"\xff\xd8")
    assert front.people.get(f"/v1/videos/{video_id}").status_code == 404  # the last line deletes it


CLIENTS = [each for each in blocks("python") if "HOST:PORT" in each]


@pytest.mark.parametrize("block", CLIENTS, ids=["openai", "kinokit"])
def test_every_client_of_the_page_works(front: Front, tmp_path: Path, clip: bytes, block: str) -> None:
    program = block.replace("http://HOST:PORT", front.url).replace("TOKEN", front.token)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        cwd=tmp_path, env={"PYTHONPATH": str(Path(__file__).parents[3]), "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "clip.mp4").read_bytes() == clip
