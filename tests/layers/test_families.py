"""A family is one data file and one folder: nobody else knows its name, its roles or its settings."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from bootstrap.choose import family
from bootstrap.choose.family import Family

ROOT = Path(__file__).parents[2]
FILES = [path for folder in ("bootstrap", "services") for path in sorted(ROOT.glob(f"{folder}/**/*.py"))]
FAMILIES = {each.name: each for each in family.shipped()}


def words(path: Path) -> Iterator[tuple[str, int]]:
    """Every text in the code that is one word, with its line."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier():
            yield node.value, node.lineno


def own(family: Family) -> set[str]:
    """What only this family has a meaning for."""
    roles = {role for group in (*family.roles, *family.optional_roles) for role in group}
    others = {word for each in FAMILIES.values() if each != family for word in each.parameters}
    parameters = set(family.parameters) | others
    return {family.name, family.title} | (roles | set(family.settings) | set(family.recipe)) - parameters


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_has_an_engine_of_its_name(name: str) -> None:
    assert (ROOT / "services/engines" / name / "__init__.py").is_file()


@pytest.mark.parametrize("name", FAMILIES)
def test_nobody_but_its_engine_knows_a_family(name: str) -> None:
    known = own(FAMILIES[name])
    found = [
        f"{path.relative_to(ROOT)}:{line} knows {word}"
        for path in FILES
        if "services/engines" not in str(path)
        for word, line in words(path)
        if word in known
    ]
    assert found == []
