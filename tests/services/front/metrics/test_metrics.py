"""``/metrics``: a real scrape of a real front, and a dashboard that asks for nothing else."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from services.front.settings import Settings
from tests.services.front.running import Front, running
from tests.support import driver
from tests.support.waiting import wait_for

ROOT = Path(__file__).parents[4]
DASHBOARD = ROOT / "docs/monitoring/grafana.json"


class Scrape:
    """One answer: samples by name and labels; ``names`` are also those of families without samples."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.names: set[str] = set()
        self.samples: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
        endings = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("_total",)}
        for family in text_string_to_metric_families(text):
            self.names |= {family.name + ending for ending in endings.get(family.type, ("",))}
            for sample in family.samples:
                self.samples[sample.name, frozenset(sample.labels.items())] = sample.value

    def __call__(self, name: str, **labels: str) -> float | None:
        return self.samples.get((name, frozenset(labels.items())))


def scrape(front: Front) -> Scrape:
    answer = front.people.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    return Scrape(answer.text)


@pytest.fixture
def used(wan: Front, clip: bytes) -> Iterator[Front]:
    """A front with a clip that is made, one that failed, and one that waits."""
    ids = [wan.people.post("/v1/videos", json={"prompt": f"cat {n}"}).json()["id"] for n in range(3)]
    wan.worker.says("ready")
    wan.worker.make(clip, timings={"encode_seconds": 0.4, "sample_seconds": 3.0, "total_seconds": 3.6})
    job = wan.worker.claimed()
    error = {"code": "out_of_memory", "message": "no"}
    wan.worker.finish(job, "failed", error=error).raise_for_status()
    wan.people.get(f"/v1/videos/{ids[0]}")
    wan.people.get("/v1/videos/video_no")
    wan.people.get("/nowhere/at/all")
    yield wan


def test_the_queue_its_clips_and_its_requests_are_told(used: Front) -> None:
    seen = scrape(used)
    assert {s: seen("kinokit_jobs", status=s) for s in ("queued", "in_progress", "completed", "failed")} == {
        "queued": 1, "in_progress": 0, "completed": 1, "failed": 1,
    }  # fmt: skip
    assert 0 < (seen("kinokit_queue_oldest_seconds") or 0) < 600
    assert seen("kinokit_videos_created_total", model="demo-wan") == 3
    assert seen("kinokit_videos_ended_total", model="demo-wan", outcome="completed") == 1
    assert seen("kinokit_videos_ended_total", model="demo-wan", outcome="out_of_memory") == 1
    assert seen("kinokit_clip_seconds_count", model="demo-wan") == 1
    sample = {"model": "demo-wan", "stage": "sample"}
    assert seen("kinokit_clip_stage_seconds_bucket", **sample, le="2") == 0
    assert seen("kinokit_clip_stage_seconds_bucket", **sample, le="5") == 1
    assert seen("kinokit_clip_stage_seconds_sum", **sample) == 3.0
    assert seen("kinokit_clip_stage_seconds_count", model="demo-wan", stage="total") is None
    one = {"method": "GET", "route": "/v1/videos/{video_id}"}
    assert seen("kinokit_http_requests_total", **one, status="200") == 1
    assert seen("kinokit_http_requests_total", **one, status="404") == 1
    assert seen("kinokit_http_request_seconds_count", **one) == 2
    assert seen("kinokit_http_requests_total", method="GET", route="other", status="404") == 1
    assert seen("kinokit_refusals_total", code="not_found") == 1
    assert seen("kinokit_workers", state="ready") == 1
    assert seen("kinokit_database_up") == 1
    assert (seen("process_resident_memory_bytes") or 0) > 0


def test_an_open_stream_is_counted_as_long_as_it_is_open(used: Front) -> None:
    waits = used.people.get("/v1/videos?limit=1").json()["data"][0]["id"]
    with used.people.stream("GET", f"/v1/videos/{waits}/events") as answer:
        lines = answer.iter_lines()  # kept: one that is let go closes the stream
        assert next(lines)
        assert scrape(used)("kinokit_event_streams") == 1
    wait_for(lambda: scrape(used)("kinokit_event_streams") == 0, 60)


def test_no_label_has_an_id_a_user_or_an_address(used: Front) -> None:
    used.people.post("/v1/videos", json={"prompt": "x", "user": "anna@example.org"})
    used.people.request("BREW", "/v1/videos")
    text = scrape(used).text
    ids = [each["id"] for each in used.people.get("/v1/videos").json()["data"]]
    for secret in (*ids, "video_no", "anna", "127.0.0.1", used.token, "nowhere", "BREW"):
        assert secret not in text, secret


def test_what_a_box_costs_is_told_where_somebody_said_it(used: Front) -> None:
    assert scrape(used)("kinokit_box_hourly_dollars") is None
    used.boot(state="ready", hourly_cost=2.5, started_at=1.0, phases=[{"name": "fetch", "bytes_done": 7}])
    seen = scrape(used)
    assert seen("kinokit_box_hourly_dollars") == 2.5
    assert (seen("kinokit_box_dollars", spent_on="other") or 0) > 0
    assert seen("kinokit_download_bytes") == 7


def test_who_may_read_it_is_a_setting(tmp_path: Path) -> None:
    with running(Settings(tmp_path / "token", metrics="token")) as front:
        assert front.anybody.get("/metrics").status_code == 401
        assert front.people.get("/metrics").status_code == 200
    with running(Settings(tmp_path / "open", metrics="open")) as front:
        assert front.anybody.get("/metrics").status_code == 200
        assert front.anybody.get("/status").status_code == 401
    with running(Settings(tmp_path / "off", metrics="off")) as front:
        assert front.people.get("/metrics").status_code == 404


def test_a_gpu_is_told_as_far_as_its_driver_says(tmp_path: Path) -> None:
    library = driver.library(tmp_path)
    shown = "[(g.index, g.name, g.memory_total_bytes) for g in gpus.read()]"
    read = f"from services.front.metrics import gpus; print({shown})"
    done = subprocess.run(
        [sys.executable, "-c", read],
        env=driver.variables(library, FAKE_NVML="NVIDIA GeForce RTX 4090,24564,24077,487,8,9,ok,0"),
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.stdout.strip() == f"[(0, 'NVIDIA GeForce RTX 4090', {24564 * 1024**2})]", done.stderr


def test_the_dashboard_asks_only_for_what_there_is(used: Front) -> None:
    asked = set(re.findall(r"\b(?:kinokit|process)_\w+", json.dumps(_queries())))
    assert len(asked) > 15
    assert asked - scrape(used).names == set()


def test_every_metric_of_the_page_exists(used: Front) -> None:
    """``…_ending`` in the page's table stands for the last family's name with another ending."""
    page = (DASHBOARD.parent / "README.md").read_text()
    told = set(re.findall(r"`(kinokit_\w+)", page))
    names = scrape(used).names
    histograms = {name.removesuffix("_bucket") for name in names if name.endswith("_bucket")}
    assert told - names - histograms == set()


def _queries() -> list[str]:
    dashboard: dict[str, Any] = json.loads(DASHBOARD.read_text())
    found = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    return [
        *found,
        *(each["query"]["query"] for each in dashboard["templating"]["list"] if each["type"] == "query"),
    ]
