"""The form comes from the table of parameters and the manifest: each model gets one that can be sent."""

from __future__ import annotations

from typing import Any

import pytest

from bootstrap.choose import reading
from bootstrap.choose.manifest import Manifest
from bootstrap.choose.plan import Plan
from services.parameters import Parameters, complete
from tests.services.front import running

gr = pytest.importorskip("gradio")
from services.front.studio import form  # noqa: E402


def plan_of(manifest: Manifest) -> Plan:
    names = ("title", "family", "inputs", "defaults", "recipe", "limits")
    return running.plan({"model": manifest.name} | {name: getattr(manifest, name) for name in names})


def controls(plan: Plan) -> dict[str, Any]:
    with gr.Blocks(analytics_enabled=False):
        return form.components(plan)


MANIFESTS = [reading.load(str(path)) for path in reading.shipped().values()]


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda manifest: manifest.name)
def test_what_a_shipped_model_shows_first_can_be_sent(manifest: Manifest) -> None:
    plan = plan_of(manifest)
    fields = controls(plan)
    photo = fields.pop(form.PHOTO, None)
    assert (photo is not None) == ("image" in manifest.inputs)
    given = {name: field.value for name, field in fields.items() if field.value not in (None, "")}
    if "text" in manifest.inputs:
        given["prompt"] = "a paper boat"
    made = complete(Parameters.model_validate(given), plan, has_image=photo is not None)
    assert made.warnings == ()
    default = complete(Parameters(prompt=given.get("prompt")), plan, has_image=photo is not None)
    assert made.values | {"seed": 0} == default.values | {"seed": 0}


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda manifest: manifest.name)
def test_every_size_and_length_that_is_offered_is_legal(manifest: Manifest) -> None:
    plan = plan_of(manifest)
    fields = controls(plan)
    prompt = "a paper boat" if "text" in manifest.inputs else None
    for _, size in fields["size"].choices:
        complete(Parameters(size=size or None, prompt=prompt), plan)
    frames = fields["num_frames"]
    ends = [count for _, count in frames.choices] if isinstance(frames, gr.Radio) else [frames.minimum]
    for count in ends:
        made = complete(Parameters(num_frames=count, prompt=prompt), plan)
        assert made.values["num_frames"] == count


def test_ranges_and_meanings_are_those_of_the_table() -> None:
    fields = controls(running.plan(running.SVD))
    motion = fields["motion_bucket_id"]
    assert (motion.minimum, motion.maximum, motion.value) == (1, 255, 127)
    assert motion.info == Parameters.model_fields["motion_bucket_id"].description
    assert (fields["fps"].minimum, fields["fps"].maximum) == (6, 30)
    assert "prompt" not in fields and "shift" not in fields


def test_a_model_that_only_reads_text_shows_no_photo_and_no_fit() -> None:
    fields = controls(running.plan(running.WAN))
    assert form.PHOTO not in fields and "fit" not in fields and "preset" not in fields
    assert next(iter(fields)) == "prompt"


def test_without_the_loras_the_form_takes_the_values_of_the_recipe() -> None:
    assert form.switches(running.plan(running.WAN)) == {
        "lora": {"num_inference_steps": 20, "guidance_scale": 3.5, "shift": 8.0}
    }
    assert form.switches(running.plan(running.SVD)) == {}
