"""Two serverless workers on one network volume: neither ends because of the other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.journeys.kit import Kit
from tests.support.waiting import wait_for


def worker(volume: Path, name: str) -> Kit:
    kit = Kit(volume)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RUNPOD_ENDPOINT_ID", "ep1")
        patch.setenv("RUNPOD_POD_ID", name)
        kit.start()
    kit.data_dir = volume / "data/boxes" / name  # whoever has no variable of RunPod names it
    return kit


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[list[Kit]]:
    with ExitStack() as stack:
        made = [worker(tmp_path, name) for name in ("w1", "w2")]
        for each in made:
            stack.callback(each.close)
        yield made


def test_two_workers_share_a_volume_and_each_makes_its_clip(workers: list[Kit]) -> None:
    for kit in workers:
        kit.ready()
        kit.sign_in()
    jobs = [kit.ask(num_inference_steps=1) for kit in workers]
    assert [kit.ended(job)["status"] for kit, job in zip(workers, jobs, strict=True)] == ["completed"] * 2
    assert workers[0].http.get(f"/v1/videos/{jobs[1]}").status_code in (401, 404)
    first = workers[0]
    token = (first.data_dir / "token").read_text()
    assert first.agent is not None
    first.agent.kill()
    first.agent.communicate(timeout=60)
    again = worker(first.data_dir.parents[2], "w1")
    workers.append(again)
    wait_for(lambda: (again.data_dir / "agent.json").exists(), 60)
    again.ready()
    assert (again.data_dir / "token").read_text() == token
    again.sign_in()
    assert again.job(jobs[0])["status"] == "completed"
    again.close()
