"""The recipe for a model in CONTRIBUTING.md, typed as it stands there."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.images.engine import ROOT

MODEL = "my-model.yaml"


def recipe() -> list[str]:
    """The commands between backticks of "Add a model" that touch nothing."""
    text = (ROOT / "CONTRIBUTING.md").read_text().partition("## Add a model")[2].partition("\n## ")[0]
    found = re.findall(r"`kinokit ((?:manifest check|plan) [^`]*)`", text)
    assert len(found) == 2
    return [line.replace("FILE", MODEL) for line in found]


def typed(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "services.cli", *shlex.split(line)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the nearest file: one of a fine-tune has another name and other weights."""
    text = (ROOT / "model-manifests/svd-xt.yaml").read_text()
    (tmp_path / MODEL).write_text(text.replace("name: svd-xt", "name: my-model", 1))
    shutil.copy(ROOT / "model-manifests/schema.json", tmp_path)
    return tmp_path


def test_a_fine_tune_needs_its_manifest_and_no_more(folder: Path) -> None:
    for line in recipe():
        done = typed(line, folder)
        assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^model +my-model", done.stdout, re.MULTILINE)


def test_every_mistake_is_told_with_its_line(folder: Path) -> None:
    path = folder / MODEL
    lines = path.read_text().splitlines()
    number = next(number for number, line in enumerate(lines) if line.startswith("family:"))
    lines[number] = "family: televisions"
    path.write_text("\n".join(lines))
    done = typed(recipe()[0], folder)
    assert done.returncode != 0
    assert f"line {number + 1}, family: " in done.stdout + done.stderr
    assert "televisions" in done.stdout + done.stderr
