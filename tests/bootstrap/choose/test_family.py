"""A family file is as strict as a manifest, and what it says holds for settings and recipes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bootstrap.choose import family
from bootstrap.choose.family import Setting
from bootstrap.errors import KitError

TOY = """\
name: toy
title: Toy
roles: [[weights]]
settings:
  speed: {type: integer, minimum: 1, maximum: 9, default: 5, description: How fast.}
  place: {type: string, enum: [here, there], default: here, description: Where.}
recipe:
  level: {type: number, minimum: 0, default: null, description: How much.}
parameters: [prompt, size, seed, fps, seconds, num_frames]
fps: {minimum: 1, maximum: 30}
fallbacks:
  - {when: {seed: 1}, from_recipe: {seconds: level}}
rules:
  doubtful:
    - {parameter: seed, above: 7, warning: "{value} is much"}
first_clip_extra_seconds: 0
"""


def load(folder: Path, text: str = TOY) -> family.Family:
    (folder / "toy.yaml").write_text(text)
    return family.load("toy", folder)


def test_a_family_is_found_beside_a_manifest_and_those_of_the_kit_too(tmp_path: Path) -> None:
    assert load(tmp_path).title == "Toy"
    assert family.load("wan", tmp_path) == family.load("wan")


def test_the_family_beside_a_manifest_wins_over_the_kits(tmp_path: Path) -> None:
    (tmp_path / "svd.yaml").write_text(TOY.replace("name: toy", "name: svd"))
    assert family.load("svd", tmp_path).title == "Toy"
    assert family.load("svd").title == "SVD"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("title: Toy", "titel: Toy", "line 2, titel: unknown key, did you mean title?"),
        ("name: toy", "name: doll", "line 1, name: must be toy, as the file is called"),
        ("name: toy", "name: toy-2", "line 1, name: string should match pattern"),
        ("type: integer", "type: int", "line 5, settings.speed.type: input should be 'string', 'integer'"),
        ("default: 5", "default: 10", "line 5, settings.speed: the default must be a whole number"),
        ("default: here", "default: away", "line 6, settings.place: the default must be one of here, there"),
        ("parameter: seed", "parameter: colour", "colour: not among the parameters"),
        ("seconds: level", "seconds: levels", "fallbacks take levels: not in the recipe"),
        ("roles: [[weights]]", "roles: []", "line 3, roles: tuple should have at least 1 item"),
    ],
)
def test_a_mistake_of_a_family_file_is_told_with_its_line(
    tmp_path: Path, old: str, new: str, told: str
) -> None:
    assert old in TOY
    with pytest.raises(KitError) as error:
        load(tmp_path, TOY.replace(old, new))
    assert told in error.value.problem


def test_settings_that_are_not_given_have_the_familys_default(tmp_path: Path) -> None:
    toy = load(tmp_path)
    assert toy.read_settings({"speed": 7}) == {"speed": 7, "place": "here"}
    assert toy.read_recipe({}) == {"level": None}
    assert toy.read_recipe({"level": 2}) == {"level": 2}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"speed": "fast"}, "settings of the toy family: speed must be a whole number of at least 1 and at"),
        ({"speed": True}, "got True"),
        ({"speed": 10}, "got 10"),
        ({"place": None}, "place must be one of here, there, got None"),
        ({"palce": "here"}, "palce unknown key, did you mean place?"),
    ],
)
def test_an_engine_never_gets_a_setting_that_is_not_legal(
    tmp_path: Path, given: dict[str, Any], told: str
) -> None:
    with pytest.raises(KitError) as error:
        load(tmp_path).read_settings(given)
    assert told in error.value.problem
    assert "place: one of here, there" in error.value.fix


def test_editors_are_told_what_a_setting_may_be() -> None:
    level = Setting(type="number", minimum=0, default=None, description="How much.")
    assert level.schema_for_editors() == {
        "type": ["number", "null"], "minimum": 0, "default": None, "description": "How much.",
    }  # fmt: skip


def test_every_shipped_file_is_a_family_of_its_name() -> None:
    names = [each.name for each in family.shipped()]
    assert names == sorted(path.stem for path in family.FAMILY_FOLDER.glob("*.yaml"))
    assert {"svd", "wan"} <= set(names)
