"""The chain of images is written in the Dockerfiles alone; what lists it elsewhere agrees."""

from __future__ import annotations

import os
import re
import subprocess

from tests.images import chain
from tests.images.engine import ROOT


def test_every_image_is_built_after_the_one_that_it_starts_from() -> None:
    built: list[str] = []
    for image, parent in chain.images():
        assert parent is None or parent in built
        built.append(image)
    assert sorted(built) == sorted(path.parent.name for path in ROOT.glob("images/*/Dockerfile"))


def built_with(*images: str) -> list[str]:
    """What the script tells docker, with echo in docker's place."""
    environment = os.environ | {"DOCKER": "echo", "TAG": "t", "WHEELS": "wheels:1"}
    done = subprocess.run(
        [str(ROOT / "scripts/images.sh"), *images],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return [line for line in done.stdout.splitlines() if line.startswith("build ")]


def test_the_script_builds_all_images_each_on_its_parent() -> None:
    lines = built_with()
    assert len(lines) == len(chain.images())
    for line, (image, parent) in zip(lines, chain.images(), strict=True):
        assert f"-t kinokit-{image}:t -f images/{image}/Dockerfile" in line
        assert parent is None or f"--build-arg BASE=kinokit-{parent}:t" in line
        assert ("WHEELS=wheels:1" in line) == ("WHEELS" in chain.arguments(image))


def test_the_script_builds_what_is_named() -> None:
    (line,) = built_with("ui")
    assert "kinokit-ui:t" in line


def test_an_unknown_image_is_refused_with_the_known_ones() -> None:
    done = subprocess.run([str(ROOT / "scripts/images.sh"), "moon"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "moon" in done.stderr
    assert "images/base" in done.stderr


def test_the_page_of_images_and_the_changelog_name_all_of_them() -> None:
    page = (ROOT / "docs/images.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| `?([\w ]+)`?", page, re.MULTILINE))
    for image, parent in chain.images():
        assert image in rows
        assert parent is None or rows[image] == parent
        assert f"`{image}`" in (ROOT / "CHANGELOG.md").read_text()


def test_uv_is_pinned_in_one_place() -> None:
    files = [*ROOT.glob("scripts/*"), *ROOT.glob("images/**/*"), *ROOT.glob("tests/images/*.py")]
    pinned = [str(path) for path in files if path.is_file() and re.search(r"uv==\d", path.read_text())]
    assert pinned == []
    assert re.search(r"^uv==[\d.]+$", (ROOT / "requirements/uv.txt").read_text(), re.MULTILINE)
