"""The images and their order, as scripts/images.sh reads them from the Dockerfiles."""

from __future__ import annotations

import re
import subprocess

from tests.images.engine import ROOT


def images() -> list[tuple[str, str | None]]:
    """Each image with the one that it starts from, in the order of building."""
    listed = subprocess.run(
        [str(ROOT / "scripts/images.sh"), "--list"], capture_output=True, text=True, check=True
    )
    rows = [line.split() for line in listed.stdout.splitlines()]
    return [(row[0], row[1] if len(row) > 1 else None) for row in rows]


def arguments(image: str) -> list[str]:
    """The build arguments that its Dockerfile declares."""
    return re.findall(r"^ARG (\w+)", (ROOT / f"images/{image}/Dockerfile").read_text(), re.MULTILINE)
