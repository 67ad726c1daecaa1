"""The recipes of CONTRIBUTING.md name files that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL))
RECIPES = [title for title in SECTIONS if title.startswith(("Add ", "Change "))]


def paths(text: str) -> list[str]:
    """What stands in backquotes and has the form of a path in the repository."""
    return re.findall(r"`([a-z.-]+/[\w./-]*)`", text)


def test_there_are_recipes() -> None:
    assert {"Add a model", "Add a platform", "Add a family", "Add an image"} <= set(RECIPES)


@pytest.mark.parametrize("title", RECIPES)
def test_every_file_that_a_recipe_names_is_there(title: str) -> None:
    named = paths(SECTIONS[title])
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []
