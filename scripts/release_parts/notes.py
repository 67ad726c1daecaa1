"""The part of CHANGELOG.md that belongs to one version."""

from __future__ import annotations

import re


def of(changelog: str, version: str) -> str:
    """Its text without the heading, ending with one line end. ValueError where there is none."""
    for section in re.split(r"^(?=## )", changelog, flags=re.MULTILINE):
        heading, _, text = section.partition("\n")
        if re.match(rf"## \[?v?{re.escape(version)}\]?(\s|$)", heading) and text.strip():
            return text.strip() + "\n"
    raise ValueError(f"CHANGELOG.md has no section `## {version}` with words in it")
