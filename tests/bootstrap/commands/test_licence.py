"""A licence that binds is accepted once, by a person at a terminal or by a word beforehand."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from bootstrap.choose import manifest

QUESTION = "Do you accept it?"


def own_model(folder: Path, licence: str) -> Path:
    """A model that is there already, so that a fetch has nothing else to do."""
    document = yaml.safe_load((manifest.MANIFEST_FOLDER / "demo.yaml").read_text())
    document["source"] = {"folder": str(manifest.MANIFEST_FOLDER / "demo")}
    document["licence"] |= {"id": licence, "url": "https://example.org/terms"}
    path = folder / "own.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def fetch(folder: Path, *more: str, licence: str = "studio-licence", answer: str = "") -> tuple[int, str]:
    """The command at a terminal; what it wrote there."""
    command = [sys.executable, "-m", "services.cli", "fetch", "--model", str(own_model(folder, licence))]
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*command, "--data-dir", str(folder / "data"), *more], stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    os.write(ours, answer.encode())
    shown = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # the terminal's other end is closed
            break
        if not part:
            break
        shown += part
    os.close(ours)
    return process.wait(60), shown.decode()


def test_yes_is_kept_and_nobody_is_asked_again(tmp_path: Path) -> None:
    code, shown = fetch(tmp_path, answer="y\n")
    assert (code, QUESTION in shown) == (0, True), shown
    assert "studio-licence, https://example.org/terms" in shown
    code, shown = fetch(tmp_path)
    assert (code, QUESTION in shown) == (0, False), shown


def test_no_downloads_nothing_and_says_so(tmp_path: Path) -> None:
    code, shown = fetch(tmp_path, answer="n\n")
    assert code == 1
    assert "was not accepted; nothing was downloaded" in shown
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(("more", "licence"), [(["--accept-licence"], "studio-licence"), ([], "apache-2.0")])
def test_nothing_is_asked_where_it_was_accepted_or_binds_nobody(
    tmp_path: Path, more: list[str], licence: str
) -> None:
    code, shown = fetch(tmp_path, *more, licence=licence)
    assert (code, QUESTION in shown) == (0, False), shown


def test_without_a_terminal_it_is_shown_and_nothing_waits(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "services.cli", "fetch", "--model", str(own_model(tmp_path, "own"))]
    done = subprocess.run(
        [*command, "--data-dir", str(tmp_path / "data")], capture_output=True, text=True, input="", timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "whoever goes on accepts it" in done.stderr
