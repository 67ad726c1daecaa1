"""A start whose weights come over a slow link: what overlaps, what is told of it, and what a failure ends."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from bootstrap.choose import manifest, reading
from tests import hub
from tests.hub import Hub
from tests.journeys.kit import Kit
from tests.support.processes import is_alive
from tests.support.waiting import wait_for

pytestmark = pytest.mark.apart

REPO = "kinokit/demo"
LINK_BYTES_PER_SECOND = 700_000.0  # 14.6 MB take 21 s: longer than the imports on an idle machine
SLOW_BYTES_PER_SECOND = (
    150_000.0  # longer than the imports on any machine; the test makes it quick in the end
)
REPORTED_SECONDS = 0.5  # at most, after a file was verified, its download's end is in the timeline
ENCODER = "image_encoder/model.fp16.safetensors"
VAE = "vae/diffusion_pytorch_model.fp16.safetensors"
UNET = "unet/diffusion_pytorch_model.fp16.safetensors"


@pytest.fixture
def server() -> Iterator[Hub]:
    with hub.serve() as made:
        yield made


@pytest.fixture
def kit(tmp_path: Path, server: Hub) -> Iterator[Kit]:
    """The demo model, from the hub instead of the checkout."""
    made = Kit(tmp_path, str(remote_demo(tmp_path, server)))
    made.endpoint = server.endpoint  # type: ignore[attr-defined]
    yield made
    made.close()


def remote_demo(folder: Path, server: Hub) -> Path:
    demo = reading.load("demo")
    assert demo.source.folder is not None
    files = manifest.MANIFEST_FOLDER / demo.source.folder
    repo = server.add(REPO, {file.path: (files / file.path).read_bytes() for file in demo.files})
    document = json.loads(demo.model_dump_json(exclude_none=True))
    document["source"] = {"repo": REPO, "revision": repo.revision}
    path = folder / "demo.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def weights_bytes(part: str) -> int:
    """What a load reads of a safetensors file: all behind the header and the eight bytes of its length."""
    path = manifest.MANIFEST_FOLDER / "demo" / part
    with path.open("rb") as file:
        header = int.from_bytes(file.read(8), "little")
    return path.stat().st_size - 8 - header


def start(kit: Kit) -> None:
    done = kit.run(*kit.up_arguments(), "--hf-endpoint", kit.endpoint, "--detach")  # type: ignore[attr-defined]
    assert done.returncode == 0, done.stderr
    kit.sign_in()


def spans(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in rows}


def test_imports_go_on_while_the_weights_arrive_and_every_part_is_told(
    kit: Kit, server: Hub, tmp_path: Path
) -> None:
    server.link_bytes_per_second = LINK_BYTES_PER_SECOND
    start(kit)
    kit.ready()
    job = kit.ended(kit.ask(seed=3, num_inference_steps=1))
    assert job["status"] == "completed", job
    wait_for(lambda: "first clip" in spans(told(kit)["timeline"]), 20)

    found = told(kit)
    rows = spans(found["timeline"])
    assert {"port", "front", "detect", "choose", "fetch", "start", "imports", "load", "ready"} <= rows.keys()
    assert all(row["ended_at"] >= row["started_at"] for row in rows.values())

    fetch, imports, load = rows["fetch"], rows["imports"], rows["load"]
    assert imports["started_at"] < fetch["ended_at"] - 5
    assert imports["ended_at"] < fetch["ended_at"], "all of them while the weights arrive"
    assert imports["ended_at"] - imports["started_at"] > 0.5, "torch is among them"
    assert load["started_at"] >= imports["ended_at"]

    unet = rows[UNET]
    assert unet["track"] == "download"
    assert unet["bytes"] == 11_492_926
    assert 0 < unet["bytes_per_second"] < 1.3 * LINK_BYTES_PER_SECOND
    assert rows[f"load {UNET}"]["bytes"] == weights_bytes(UNET)
    assert found["measured"]["ready_seconds"] > found["measured"]["download_seconds"] > 15
    assert kit.http.get("/status").json()["boot"]["timeline"] == found["timeline"]

    text = kit.run("status", "--timeline").stdout
    assert "ready after" in text
    assert "█" in text
    trace = tmp_path / "trace.json"
    assert kit.run("status", "--chrome", str(trace)).returncode == 0
    events = json.loads(trace.read_text())["traceEvents"]
    assert {event["name"] for event in events if event["ph"] == "X"} == rows.keys()

    predicted = json.loads(kit.run("plan", "--model", kit.model, "--price", "3.6", "--json").stdout)[
        "forecast"
    ]
    assert predicted["basis"]["link"] == "measured in the last boot that downloaded"
    assert predicted["link_bytes_per_second"] == pytest.approx(LINK_BYTES_PER_SECOND, rel=0.4)
    assert predicted["download_seconds"] == 0.0  # all is there now
    assert predicted["load_seconds"] == pytest.approx(found["measured"]["load_seconds"])
    total = predicted["ready_seconds"] + predicted["first_clip_seconds"]
    assert predicted["dollars"] == pytest.approx(total / 1000)

    kit.run("down")
    again = told(kit)
    assert spans(again["timeline"])["ready"] == rows["ready"]


def test_what_is_there_is_loaded_while_the_rest_arrives_and_again_after_a_crash(
    kit: Kit, server: Hub
) -> None:
    server.link_bytes_per_second = LINK_BYTES_PER_SECOND
    # Each connection brings so much of it, and another takes its place after 10 s: hours for the whole file.
    held_back = server.fault("stall", UNET, at=10_000, times=None)
    start(kit)
    wait_for(lambda: now(kit)[f"load {VAE}"]["ended_at"], 120)
    early = now(kit)
    assert early["fetch"]["ended_at"] is None
    assert early[UNET]["ended_at"] is None, "the largest file is still on its way"
    for part in (ENCODER, VAE):
        assert early[f"load {part}"]["bytes"] == weights_bytes(part)
        assert early[f"load {part}"]["started_at"] > early[part]["ended_at"] - REPORTED_SECONDS
    assert f"load {UNET}" not in early
    assert early["load"]["ended_at"] is None
    assert kit.http.get("/readyz").json()["state"] == "fetching"

    kit.process("services.worker.child").kill()
    server.faults.remove(held_back)
    server.link_bytes_per_second = None
    kit.ready()
    wait_for(lambda: "ready" in now(kit), 20)  # the agent asks a moment later than we
    late = now(kit)
    assert late[f"load {UNET}"]["started_at"] > late[UNET]["ended_at"] - REPORTED_SECONDS
    assert late["ready"]["started_at"] > late["fetch"]["ended_at"]
    assert kit.ended(kit.ask(seed=3, num_inference_steps=1))["status"] == "completed"


def test_a_download_that_fails_ends_the_workers_that_wait_for_it(kit: Kit, server: Hub) -> None:
    server.link_bytes_per_second = LINK_BYTES_PER_SECOND
    server.fault("flip", UNET, at=400_000, times=None)
    start(kit)
    wait_for(lambda: kit.process("services.worker.child"), 60)
    waiting = [kit.process("services.worker.worker"), kit.process("services.worker.child")]
    wait_for(lambda: kit.http.get("/readyz").json()["state"] == "failed", 120)
    wait_for(lambda: not any(map(is_alive, waiting)), 15)
    agent = psutil.Process(kit.status()[1]["pid"])
    assert not any("services.worker.worker" in each.cmdline() for each in agent.children()), (
        "it is not retried"
    )
    assert not (kit.data_dir / "plan.json").exists()
    failure = kit.http.get("/status").json()["boot"]["failure"]
    assert failure["phase"] == "fetch"
    assert f"{UNET} from" in failure["problem"]
    assert "is damaged" in failure["problem"]
    found = told(kit)
    assert spans(found["timeline"])["fetch"]["detail"] == "failed"
    assert f"load {UNET}" not in spans(found["timeline"])
    assert "ready" not in spans(found["timeline"])


def now(kit: Kit) -> dict[str, dict[str, Any]]:
    """The timeline as the front tells it, which is quicker to ask than the command."""
    return spans(kit.http.get("/status").json()["boot"]["timeline"])


def told(kit: Kit) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(kit.run("status", "--timeline", "--json").stdout)
    return found
