"""docs/architecture.md draws the house as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")


def drawn(package: str) -> set[str]:
    """The folders in the drawing below a package."""
    lines = TEXT.split(f"\n{package}/ ", 1)[1].splitlines()[1:]
    below = []
    for line in lines:
        if not line.startswith("  "):
            break
        below.append(line)
    return {found[1] for line in below if (found := re.match(r"  (\w+)/ ", line))}


@pytest.mark.parametrize("package", ["bootstrap", "services"])
def test_the_drawing_has_every_folder(package: str) -> None:
    assert drawn(package) == {path.parent.name for path in ROOT.glob(f"{package}/*/__init__.py")}
