"""A rented box behind a link of a few kilobytes: its boot document says so while it downloads."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from bootstrap.choose import manifest, reading
from bootstrap.launch import steps
from bootstrap.launch.document import BootDocument
from bootstrap.launch.link import Link
from bootstrap.settings import Settings
from tests import hub
from tests.support.waiting import wait_for

SLOW_BYTES_PER_SECOND = 2_000.0  # 14.6 MB take two hours, another host five minutes


@pytest.mark.parametrize(("platform", "is_told"), [("vast", True), ("bare", False)])
def test_a_boot_tells_of_its_slow_link_where_a_person_could_leave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, platform: str, is_told: bool
) -> None:
    monkeypatch.setattr(Link, "MEASURE_SECONDS", 0.5)
    monkeypatch.setattr(Link, "LONGEST_SECONDS", 1.0)
    document = BootDocument(None)
    with hub.serve() as server:
        server.link_bytes_per_second = SLOW_BYTES_PER_SECOND
        settings = Settings(
            model=str(_remote_demo(tmp_path, server)),
            service="api",
            platform=platform,
            hf_endpoint=server.endpoint,
            hourly_cost=0.4,
        )
        boot = threading.Thread(target=_run, args=(settings, tmp_path / "data", document), daemon=True)
        boot.start()
        wait_for(lambda: document.snapshot().get("link"), 60)
        seen = document.snapshot()
        server.link_bytes_per_second = None
        boot.join(60)
    assert seen["link"]["eta_seconds"] > 600
    assert seen["link"]["dollars"] == pytest.approx(seen["link"]["eta_seconds"] / 3600 * 0.4)
    slow = [each for each in seen["findings"] if each["code"] == "slow_link"]
    assert bool(slow) == is_told
    assert all("kinokit rent stop" in each["fix"] for each in slow)
    done = document.snapshot()
    assert done["link"] is None
    assert not any(each["code"] == "slow_link" for each in done["findings"]), "it is over"


def _run(settings: Settings, data_dir: Path, document: BootDocument) -> None:
    data_dir.mkdir()
    steps.run(settings, data_dir, {}, document)


def _remote_demo(folder: Path, server: hub.Hub) -> Path:
    demo = reading.load("demo")
    assert demo.source.folder is not None
    files = manifest.MANIFEST_FOLDER / demo.source.folder
    repo = server.add("kinokit/demo", {file.path: (files / file.path).read_bytes() for file in demo.files})
    made: dict[str, Any] = json.loads(demo.model_dump_json(exclude_none=True))
    made["source"] = {"repo": "kinokit/demo", "revision": repo.revision}
    path = folder / "demo.json"
    path.write_text(json.dumps(made))
    return path
