"""Every page of the documentation names files that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
FOLDERS = "bootstrap|services|tests|model-manifests|docs|scripts|images|requirements"


def named(text: str) -> set[str]:
    """Paths of the repository as they stand in a text: from one of its folders on, to a name."""
    return set(re.findall(rf"(?<![\w/.-])((?:{FOLDERS})/[\w./-]*\w)", text))


def test_paths_are_found_in_a_text() -> None:
    assert named("see `docs/a.md`, (services/b/c.py) and /data/models/x, not-docs/d.md.") == {
        "docs/a.md",
        "services/b/c.py",
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_path_that_a_page_names_is_there(page: Path) -> None:
    found = sorted(named(page.read_text(encoding="utf-8")))
    assert [path for path in found if not (ROOT / path).exists()] == []
