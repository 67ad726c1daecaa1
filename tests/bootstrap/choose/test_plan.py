"""The plan says what was chosen and where the files lie."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from bootstrap import fetch
from bootstrap.choose import reading
from bootstrap.choose.manifest import Limits, Manifest, Needs, Profile
from bootstrap.choose.plan import Plan
from bootstrap.choose.profile import choose
from bootstrap.detect.machine import GIB, Gpu, Machine

MACHINE = Machine(
    gpus=tuple(Gpu(f"GPU-{number}", "H200", 141 * GIB, 139 * GIB, (9, 0)) for number in range(2)),
    ram_limit_bytes=256 * GIB,
    ram_available_bytes=256 * GIB,
)


def build(model: Manifest, tmp_path: Path) -> Plan:
    choice = choose(model, MACHINE)
    return Plan.build(model, choice, files=tmp_path / "files", data_dir=tmp_path, threads=8)


@pytest.mark.parametrize("name", ["svd", "svd-xt", "svd-xt-1-1", "wan22", "wan22-i2v", "wan22-5b"])
def test_a_plan_survives_its_file(name: str, tmp_path: Path) -> None:
    plan = build(reading.load(name), tmp_path)
    plan.write(tmp_path / "plan.json")
    assert Plan.read(tmp_path / "plan.json") == plan
    assert [path.name for path in tmp_path.iterdir()] == ["plan.json"]


def test_each_group_of_gpus_is_named_by_what_cuda_takes(tmp_path: Path) -> None:
    assert build(reading.load("wan22"), tmp_path).gpu_groups == (("GPU-0",), ("GPU-1",))


def test_components_are_absolute_paths_of_files_or_folders(tmp_path: Path) -> None:
    wan = build(reading.load("wan22"), tmp_path)
    files = tmp_path / "files"
    assert wan.components["vae"] == files / "split_files/vae/wan_2.1_vae.safetensors"
    assert set(wan.components) == {"high_noise", "low_noise", "text_encoder", "vae", "lora_high", "lora_low"}
    assert build(reading.load("svd-xt"), tmp_path).components == {"pipeline": files}


def test_a_file_that_is_kept_elsewhere_is_found_there(tmp_path: Path) -> None:
    model = reading.load("wan22")
    moved = tuple(file.model_copy(update={"target": f"kept/{Path(file.path).name}"}) for file in model.files)
    plan = build(model.model_copy(update={"files": moved}), tmp_path)
    assert plan.components["vae"] == tmp_path / "files/kept/wan_2.1_vae.safetensors"


def test_plan_and_fetch_agree_on_where_components_lie(tmp_path: Path) -> None:
    for name in ("svd-xt", "wan22", "demo", "demo-wan"):
        model = reading.load(name)
        home = fetch.home(model, store=tmp_path)
        kept_at = {file.path: file.kept_at for file in model.files}
        plan = Plan.build(model, choose(model, MACHINE), files=home, data_dir=tmp_path, threads=1)
        expected = {role: home / kept_at.get(path, path) for role, path in model.components.items()}
        assert plan.components == expected


def test_the_engines_configs_are_named_and_a_models_own_are_a_path(tmp_path: Path) -> None:
    assert build(reading.load("wan22"), tmp_path).config == "wan2.2_t2v_a14b"
    assert build(reading.load("demo-wan"), tmp_path).config == str(tmp_path / "files/config")


def test_a_profile_that_allows_less_brings_its_limits_and_defaults(tmp_path: Path) -> None:
    model = reading.load("svd-xt")
    small = Profile(
        name="small",
        title="Less",
        needs=Needs(vram_gib=4),
        limits=Limits(size_multiple=64, max_pixels=262144),
        defaults={"size": "640x384"},
    )
    both = model.model_copy(update={"profiles": (*model.profiles, small)})
    choice = choose(both, MACHINE, profile="small")
    plan = Plan.build(both, choice, files=tmp_path, data_dir=tmp_path, threads=1)
    assert plan.limits == small.limits
    assert plan.defaults == {**model.defaults, "size": "640x384"}
    assert build(model, tmp_path).limits == model.limits


def test_the_plan_names_the_next_smaller_profile_of_its_own_manifest(tmp_path: Path) -> None:
    model = reading.load("wan22")
    profiles = tuple(each.model_copy(update={"name": f"my-{each.name}"}) for each in model.profiles)
    mine = model.model_copy(update={"profiles": profiles})  # bears a shipped name, has profiles of its own
    now = build(mine, tmp_path)
    assert now.smaller_profile in [each.name for each in profiles]
    assert now.smaller_profile != now.profile
    last = mine.model_copy(update={"profiles": profiles[:1]})
    assert build(last, tmp_path).smaller_profile is None


def test_a_plan_cannot_be_changed(tmp_path: Path) -> None:
    with pytest.raises(ValidationError):
        build(reading.load("svd-xt"), tmp_path).threads = 2
