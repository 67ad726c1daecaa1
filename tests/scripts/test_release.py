"""``make release``: one folder with all that a publisher uploads, the same bytes for the same commit."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from bootstrap import __version__, publication
from bootstrap.publication import release

ROOT = Path(__file__).parents[2]
URL = "https://example.org/kit/v1"
WHEEL = f"kinokit-{__version__}-py3-none-any.whl"


def build(out: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts/release.py"), "--allow-changes", "--out", str(out)]
    return subprocess.run(
        [*command, *arguments], env={**os.environ, **env}, capture_output=True, text=True, timeout=250
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("release") / "out"
    done = build(out, "--url", URL, "--images", DOCKER="no-such-docker")
    assert done.returncode == 0, done.stderr
    return out


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def document(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "release.json").read_text())
    return found


def test_every_file_is_there_and_its_sum_is_told(folder: Path) -> None:
    names = {path.name for path in folder.iterdir()}
    packages = {WHEEL, f"kinokit-{__version__}.tar.gz", f"kinokit-{__version__}.cdx.json"}
    assert names == packages | {"start.sh", "release.json", "RELEASE_NOTES.md", "SHA256SUMS"}
    sums = [line.split("  ") for line in (folder / "SHA256SUMS").read_text().splitlines()]
    assert {name: digest for digest, name in sums} == {
        name: sha256(folder / name) for name in names - {"SHA256SUMS"}
    }


def test_startup_takes_it_as_a_source_with_every_digest(folder: Path) -> None:
    found = publication.find(str(folder / "release.json"), None)
    assert found.source == f"{URL}/{WHEEL}#sha256={sha256(folder / WHEEL)}"
    assert found.script_url == f"{URL}/start.sh"
    assert found.script_sha256 == sha256(folder / "start.sh")


def test_the_wheel_knows_where_it_came_from(folder: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(folder / WHEEL) as wheel:
        wheel.extract("bootstrap/publication/release.json", tmp_path)
        assert "model-manifests/families/svd.yaml" in wheel.namelist()
    found = publication.find(None, None, root=tmp_path)
    assert (found.source, found.script_sha256) == (f"{URL}/{WHEEL}", sha256(folder / "start.sh"))


def test_a_checkout_has_no_release_in_it() -> None:
    assert not release.IN_WHEEL.exists()


def test_the_script_says_its_version_and_installs_its_wheel(folder: Path) -> None:
    script = (folder / "start.sh").read_text()
    assert script.splitlines()[1] == f"# kinokit {__version__}, commit {document(folder)['commit']}"
    assert f"KINOKIT_SOURCE:-{URL}/{WHEEL}" in script
    subprocess.run(["sh", "-n", str(folder / "start.sh")], check=True)


def test_the_parts_list_names_every_pinned_package(folder: Path) -> None:
    parts = json.loads((folder / f"kinokit-{__version__}.cdx.json").read_text())
    assert (parts["bomFormat"], parts["specVersion"]) == ("CycloneDX", "1.5")
    assert parts["metadata"]["component"]["version"] == __version__
    references = [each["bom-ref"] for each in parts["components"]]
    assert len(references) == len(set(references)) > 100
    fastapi = next(each for each in parts["components"] if each["name"] == "fastapi")
    assert fastapi["scope"] == "required"
    assert fastapi["purl"].startswith("pkg:pypi/fastapi@")
    torch = next(each for each in parts["components"] if each["name"] == "torch")
    assert torch["scope"] == "optional"


def test_images_that_were_not_built_say_why(folder: Path) -> None:
    assert document(folder)["images"] == {"not_built": "no no-such-docker command is here"}


def test_the_notes_are_the_changelogs(folder: Path) -> None:
    notes = (folder / "RELEASE_NOTES.md").read_text()
    assert notes in (ROOT / "CHANGELOG.md").read_text()
    assert "## " not in notes.replace("### ", "")


@pytest.mark.slow
def test_the_same_commit_makes_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    done = build(tmp_path / "again", "--url", URL)
    assert done.returncode == 0, done.stderr
    for name in (WHEEL, f"kinokit-{__version__}.tar.gz", f"kinokit-{__version__}.cdx.json", "start.sh"):
        assert sha256(tmp_path / "again" / name) == sha256(folder / name)
