"""CONTRIBUTING's recipe "Add a family", followed in a folder of its own: no file of the kit is touched."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from bootstrap.choose import reading
from bootstrap.choose.plan import Plan
from bootstrap.cli import app
from bootstrap.errors import KitError
from bootstrap.launch import steps
from bootstrap.launch.document import BootDocument
from bootstrap.settings import Settings
from services.parameters import RequestError, complete, parse
from tests.services.worker import crew

WEIGHTS = b"grey"
ROOT = Path(__file__).parents[2]
RECIPE = (ROOT / "CONTRIBUTING.md").read_text().partition("## Add a family")[2]


def block(language: str) -> str:
    """The recipe's example in this language."""
    return RECIPE.partition(f"```{language}\n")[2].partition("```")[0]


FAMILY = block("yaml") + "engine: toy_engine\n"
ENGINE = block("python")
MANIFEST = f"""\
name: grey
title: Grey frames
summary: Frames of one grey.
family: toy
inputs: [text]
licence: {{id: apache-2.0, url: "https://www.apache.org/licenses/LICENSE-2.0"}}
source: {{folder: weights}}
files:
  - {{path: grey.bin, bytes: {len(WEIGHTS)}, sha256: {hashlib.sha256(WEIGHTS).hexdigest()}}}
components: {{weights: grey.bin}}
defaults: {{size: 128x64, num_frames: 6, num_inference_steps: 2}}
limits: {{size_multiple: 16, max_frames: 20}}
profiles:
  - name: cpu
    title: No GPU needed
    needs: {{device: cpu}}
    settings: {{brightness: 200}}
"""


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A family file, a manifest, weights, and an engine that Python finds."""
    folder = tmp_path_factory.mktemp("toy")
    (folder / "families").mkdir()
    (folder / "weights").mkdir()
    (folder / "families/toy.yaml").write_text(FAMILY)
    (folder / "weights/grey.bin").write_bytes(WEIGHTS)
    (folder / "toy_engine.py").write_text(ENGINE)
    (folder / "grey.yaml").write_text(MANIFEST)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))
        yield folder / "grey.yaml"


@pytest.fixture(scope="module")
def plan(manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """As the agent makes it: detect, choose, fetch, and a forecast on the way."""
    settings = Settings.model_validate({"model": str(manifest)})
    made = steps.run(settings, tmp_path_factory.mktemp("data"), dict(os.environ), BootDocument(None))
    return made.model_copy(update={"arrivals": None})


def test_its_manifest_is_checked_as_strictly_as_any(manifest: Path) -> None:
    result = CliRunner().invoke(app, ["manifest", "check", str(manifest)])
    assert result.stdout.startswith("grey: 1 files, ") and "no mistakes" in result.stdout
    bad = manifest.with_name("bad.yaml")
    bad.write_text(MANIFEST.replace("brightness: 200", "brightness: 300").replace("[weights]", "[w]"))
    with pytest.raises(KitError) as error:
        reading.load(str(bad))
    assert "settings.brightness: must be a whole number of at least 0 and at most 255" in error.value.problem


def test_the_plan_brings_its_family_along(manifest: Path, plan: Plan, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["plan", "--json", "--model", str(manifest)])
    document = json.loads(result.stdout)
    assert (document["fits"], document["model"]["family"]) == (True, "toy")
    plan.write(tmp_path / "plan.json")
    assert Plan.read(tmp_path / "plan.json").family.title == "Toy"


def test_requests_are_completed_by_its_rules(plan: Plan) -> None:
    request = complete(parse({"prompt": "x", "preset": "dawn", "seed": 1}), plan)
    assert request.values == {
        "prompt": "x", "preset": "dawn", "width": 128, "height": 64, "num_frames": 6, "fps": 2, "seed": 1,
        "num_inference_steps": 2, "shift": None,
    }  # fmt: skip
    assert complete(parse({"prompt": "x"}), plan).values["fps"] == 4
    assert complete(parse({"prompt": "x", "shift": 1}), plan).values["num_inference_steps"] == 3
    doubtful = complete(parse({"prompt": "x", "num_inference_steps": 6}), plan)
    assert doubtful.warnings == ("6 steps change nothing",)
    for given in ({"lora": True}, {"fps": 9}, {"preset": "dusk"}):
        with pytest.raises(RequestError):
            complete(parse({"prompt": "x", **given}), plan)


def test_the_studio_has_a_form_for_it(plan: Plan) -> None:
    gradio = pytest.importorskip("gradio")
    from services.front.studio import form

    with gradio.Blocks(analytics_enabled=False):
        fields = form.components(plan)
    assert {"prompt", "preset", "shift"} <= set(fields)
    assert "lora" not in fields and form.PHOTO not in fields
    assert (fields["fps"].minimum, fields["fps"].maximum) == (2, 8)
    assert form.presets(plan) == {"dawn": {"fps": 2}}
    assert form.make_label(plan) == "Make the clip, 1.5 s"


def test_the_api_describes_it_and_a_worker_makes_its_clips(plan: Plan, tmp_path: Path) -> None:
    with crew.crew(tmp_path, plan, engine=None) as started:
        described = started.http.get("/v1/models").json()["data"][0]
        assert (described["id"], described["family"]) == ("grey", "toy")
        assert "shift" in described["parameters"] and "lora" not in described["parameters"]
        assert [preset["name"] for preset in described["presets"]] == ["dawn"]
        started.start_worker()
        refused = started.http.post("/v1/videos", json={"prompt": "x", "fps": 9})
        assert refused.status_code == 400
        made = asked(started.http, "x")
        assert started.ended(made, 90)["status"] == "completed"
        content = started.http.get(f"/v1/videos/{made}/content").content
    assert brightness(content) == pytest.approx(200, abs=3)


def asked(http: httpx.Client, prompt: str) -> str:
    return str(http.post("/v1/videos", json={"prompt": prompt}).raise_for_status().json()["id"])


def brightness(clip: bytes) -> float:
    """Of the first frame, 0 to 255."""
    import io

    import av

    with av.open(io.BytesIO(clip), "r") as container:
        frame = next(container.decode(video=0))
        return float(frame.to_ndarray(format="rgb24").mean())
