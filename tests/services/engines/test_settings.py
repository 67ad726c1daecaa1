"""The engines' typed settings and the family files say the same."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest

from bootstrap.choose import family, reading
from bootstrap.choose.family import Setting
from bootstrap.choose.plan import Plan
from bootstrap.choose.profile import Choice
from bootstrap.errors import KitError
from services.engines.svd import settings as svd
from services.engines.wan import settings as wan

TYPES = {"string": str, "integer": int, "number": float, "boolean": bool}


def kind(field: Setting) -> Any:
    """The Python type that a family file promises."""
    told: Any = Literal[field.enum] if field.enum else TYPES[field.type]
    return told | None if field.default is None else told


def plan(model: str, profile: str, **changes: Any) -> Plan:
    found = reading.load(model)
    chosen = next(each for each in found.profiles if each.name == profile)
    made = Plan.build(found, Choice(chosen, (), ()), files=Path("f"), data_dir=Path("d"), threads=2)
    return made.model_copy(update=changes)


@pytest.mark.parametrize(
    ("typed", "fields"),
    [
        (svd.Settings, family.load("svd").settings),
        (wan.Settings, family.load("wan").settings),
        (wan.Recipe, family.load("wan").recipe),
    ],
)
def test_a_typed_setting_is_what_the_family_file_says(typed: type, fields: Mapping[str, Setting]) -> None:
    hints = typing.get_type_hints(typed)
    assert set(hints) == set(fields)
    for name, field in fields.items():
        assert same(hints[name], kind(field)), name


def same(one: Any, other: Any) -> bool:
    """Equal, but for the order of a ``Literal``'s values."""
    if get_origin(one) is Literal or isinstance(one, types.UnionType):
        return get_origin(one) == get_origin(other) and set(get_args(one)) == set(get_args(other))
    return bool(one == other)


@pytest.mark.parametrize("model", reading.shipped())
def test_every_published_profile_is_one_that_the_engine_knows(model: str) -> None:
    for profile in reading.load(model).profiles:
        made = plan(model, profile.name)
        engine = {"svd": svd, "wan": wan}[made.family.name]
        read = engine.Settings.of(made)
        assert {key: getattr(read, key) for key in profile.settings} == profile.settings


def test_what_a_profile_leaves_out_is_the_familys_default() -> None:
    assert svd.Settings.of(plan("demo", "cpu")).guidance == "together"
    made = plan("wan22", "full", settings={})
    assert wan.Settings.of(made) == wan.Settings("resident", "gpu", False, 2, "exact")
    assert wan.Recipe.of(made.model_copy(update={"recipe": {}})).text_length == 512


def test_no_engine_takes_a_setting_that_nobody_wrote_down() -> None:
    with pytest.raises(KitError, match="matmul must be one of exact, fp8, got 'fp-8'"):
        wan.Settings.of(plan("wan22", "full", settings={"matmul": "fp-8"}))
    with pytest.raises(KitError, match="sampler unknown key"):
        wan.Recipe.of(plan("wan22", "full", recipe={"sampler": "euler"}))
