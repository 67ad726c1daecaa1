"""CONTRIBUTING's recipe "Add a door": its example becomes a door of a real front."""

from __future__ import annotations

import base64
import importlib.util
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from fastapi import APIRouter

from services.front.settings import Settings
from services.queue.job import Job
from services.queue.queue import Queue
from tests.services.front.running import SVD, WAN, Front, running

ROOT = Path(__file__).parents[3]
RECIPE = (ROOT / "CONTRIBUTING.md").read_text().partition("## Add a door")[2]


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Front]:
    """A front with the recipe's door, before a model is known."""
    with running(Settings(tmp_path, auth=False), toy_door(tmp_path / "toy_door.py")) as found:
        yield found


def toy_door(file: Path) -> APIRouter:
    file.write_text(RECIPE.partition("```python\n")[2].partition("```")[0])
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    router = module.router
    assert isinstance(router, APIRouter)
    return router


def queued(door: Front, ticket: str) -> Job:
    with closing(Queue(Settings(door.data_dir).queue_url)) as queue:
        job = queue.get(ticket)
    assert job is not None
    return job


def test_its_words_become_a_job_in_the_queue_with_the_models_defaults(door: Front) -> None:
    door.plan(WAN)
    ticket = door.anybody.post("/toy", json={"words": "a paper boat"}).json()["ticket"]
    job = queued(door, ticket)
    assert (job.status, job.owner, job.model) == ("queued", "toy", WAN["model"])
    assert job.prompt == "a paper boat"
    assert job.values["num_frames"] == WAN["defaults"]["num_frames"]


def test_its_photo_is_checked_and_kept(door: Front, photo: bytes) -> None:
    door.plan(SVD)
    picture = base64.b64encode(photo).decode()
    ticket = door.anybody.post("/toy", json={"picture": picture}).json()["ticket"]
    job = queued(door, ticket)
    assert job.input_name is not None
    assert (door.data_dir / "jobs" / ticket / job.input_name).read_bytes() == photo
    no_photo = door.anybody.post("/toy", json={"picture": base64.b64encode(b"%PDF-1.7").decode()})
    assert (no_photo.status_code, no_photo.json()["error"]["code"]) == (400, "image_type")


def test_it_refuses_as_all_doors_do(door: Front) -> None:
    early = door.anybody.post("/toy", json={"words": "a paper boat"})
    assert (early.status_code, early.json()["error"]["code"]) == (503, "not_ready")
    door.plan(WAN)
    assert door.anybody.post("/toy", json={}).status_code == 400
    assert door.anybody.get("/toy/none.mp4").status_code == 404


def test_its_clip_comes_out_of_the_same_door(door: Front, clip: bytes) -> None:
    door.plan(WAN)
    door.worker.says("ready")
    ticket = door.anybody.post("/toy", json={"words": "a paper boat"}).json()["ticket"]
    assert door.anybody.get(f"/toy/{ticket}.mp4").status_code == 409
    assert door.worker.make(clip) == ticket
    assert door.anybody.get(f"/toy/{ticket}.mp4").content == clip
