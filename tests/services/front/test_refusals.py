"""Every code that a client of the API can meet stands in docs/api.md."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
WORKERS = ROOT / "services/front/workers.py"  # its verbs are for the kit's own workers


def codes() -> set[str]:
    sources = [*ROOT.glob("services/front/**/*.py"), *ROOT.glob("services/parameters/*.py")]
    found = [
        code
        for path in sources
        if path != WORKERS
        for code in re.findall(r"code(?:: str)? ?= ?\"(\w+)\"", path.read_text(encoding="utf-8"))
    ]
    photos = (ROOT / "services/parameters/images.py").read_text(encoding="utf-8")
    return {*found, *re.findall(r"\"(image_\w+)\"", photos)}


def test_every_code_stands_in_the_page_of_the_api() -> None:
    page = (ROOT / "docs/api.md").read_text(encoding="utf-8")
    assert {"not_found", "still_running", "image_type", "invalid_value"} <= codes()
    assert sorted(code for code in codes() if f"`{code}`" not in page) == []
