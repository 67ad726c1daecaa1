"""What was accepted is on the disk: by the syncs that a real front makes before it answers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bootstrap import data_directory
from tests.services.front.running import SVD, Front
from tests.support import ports
from tests.support.waiting import wait_for

SOURCE = Path(__file__).with_name("recorded_disk.c")


class Recorded(Front):
    """A front in a process of its own whose syncs are seen."""

    def __init__(self, data_dir: Path, port: int, record: Path) -> None:
        super().__init__(data_dir, port)
        self._record = record

    def lines(self) -> list[str]:
        """Since the last look, each without the data directory."""
        found = self._record.read_text().replace(f"{self.data_dir}/", "").splitlines()
        self._record.write_text("")
        return found


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    place = tmp_path_factory.mktemp("power")
    library, record, data_dir = place / "recorded_disk.so", place / "record", place / "data"
    subprocess.run(["gcc", "-shared", "-fPIC", "-w", "-o", str(library), str(SOURCE)], check=True)
    data_dir.mkdir()
    for name in (data_directory.TOKEN, data_directory.WORKER_TOKEN):
        data_directory.keep_token(data_dir / name)
    port = ports.free_port()
    command = [sys.executable, "-m", "services.front.app", "--data-dir", str(data_dir), "--port", str(port)]
    env = {**os.environ, "LD_PRELOAD": str(library), "RECORDED": str(record)}
    with subprocess.Popen(command, env=env) as process:
        found = Recorded(data_dir, port, record)
        try:
            wait_for(lambda: found.anybody.get("/healthz").status_code == 200)
            found.plan(SVD)
            yield found
        finally:
            found.close()
            process.terminate()
            process.wait(60)


def create(front: Front, photo: bytes) -> str:
    made = front.people.post("/v1/videos", files={"input_reference": ("p.jpg", photo, "image/jpeg")})
    assert made.status_code == 200, made.text
    return str(made.json()["id"])


def test_an_accepted_video_is_on_the_disk_with_its_photo_and_folder(front: Recorded, photo: bytes) -> None:
    video = create(front, photo)
    found = front.lines()
    for kept in ("jobs.db-wal", f"jobs/{video}/input.jpg", f"jobs/{video}", "jobs"):
        assert f"sync {kept}" in found
    row = max(place for place, line in enumerate(found) if line == "sync jobs.db-wal")
    assert found.index(f"sync jobs/{video}") < row, "the row first would be a job without its photo"
    assert found.index(f"sync jobs/{video}/input.jpg") < found.index(f"sync jobs/{video}")


def test_one_create_syncs_the_database_once(front: Recorded, photo: bytes) -> None:
    create(front, photo)
    front.lines()
    create(front, photo)
    assert front.lines().count("sync jobs.db-wal") == 1


def test_a_remix_keeps_its_own_photo(front: Recorded, photo: bytes) -> None:
    source = create(front, photo)
    front.lines()
    made = front.people.post(f"/v1/videos/{source}/remix", json={"seed": 5})
    assert made.status_code == 200, made.text
    remix = made.json()["id"]
    found = front.lines()
    assert f"sync jobs/{remix}/input.jpg" in found
    assert f"sync jobs/{remix}" in found


def test_a_finished_clip_is_on_the_disk_before_its_row_says_so(
    front: Recorded, photo: bytes, clip: bytes
) -> None:
    create(front, photo)
    job = front.worker.claimed()
    assert "sync jobs.db-wal" in front.lines(), "the token of a lost claim would be given twice"
    for step in range(3):
        front.worker.beat(job, progress=step / 3).raise_for_status()
    assert front.lines() == [], "a beat is soon written again: nobody waits for the disk"
    front.worker.put(job, clip).raise_for_status()
    folder = f"jobs/{job['id']}"
    synced, renamed, named = front.lines()
    assert synced.startswith(f"sync {folder}/content-")
    assert renamed.startswith(f"rename {folder}/content-")
    assert named == f"sync {folder}"
    front.worker.finish(job).raise_for_status()
    assert front.lines() == ["sync jobs.db-wal"]
