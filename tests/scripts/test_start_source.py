"""Where scripts/start.sh takes the kit from: a repository by branch, tag or commit."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.bootstrap.publication import repositories
from tests.bootstrap.publication.repositories import Checkout
from tests.scripts import start_script

pytestmark = pytest.mark.apart


@pytest.fixture
def kit(tmp_path: Path) -> Checkout:
    made = repositories.checkout(tmp_path / "publisher")
    (made.root / "requirements").mkdir()
    (made.root / "requirements/core.txt").write_text("nothing==1\n")
    (made.root / "pyproject.toml").write_text("")
    made.commit_all("second")
    made.git("tag", "v1")
    made.git("push", "-q", "origin", "HEAD:main", "v1")
    return made


def install(home: Path, source: str) -> str:
    """Only the installation, on a box that has all packages; what its console showed."""
    env = {"KINOKIT_SOURCE": source, "KINOKIT_START_ONLY_INSTALL": "1"}
    if not (home / "programs").exists():
        start_script.installed(home, "")
        (home / "programs/venv/bin/python").write_text(f"#!/bin/sh\necho {home}\n")
        (home / "programs/venv/bin/python").chmod(0o755)
        core = subprocess.run(["cksum"], input=b"nothing==1\n", capture_output=True, check=True).stdout
        (home / "programs/core.sum").write_bytes(core)
    path = start_script.path_with(home, "perl", "git", "git-upload-pack")
    with start_script.started(home, path, env | {"KINOKIT_FAILED_MINUTES": "0"}) as box:
        box.process.wait(60)
    return box.logs


def code(home: Path) -> str:
    return Checkout(home / "programs/code").commit


@pytest.mark.parametrize("by", ["branch", "tag", "commit"])
def test_a_repository_is_fetched_by_branch_tag_or_commit(tmp_path: Path, kit: Checkout, by: str) -> None:
    ref = {"branch": "main", "tag": "v1", "commit": kit.commit}[by]
    log = install(tmp_path / "box", f"file://{tmp_path}/publisher/remote.git@{ref}")
    assert code(tmp_path / "box") == kit.commit, log


def test_a_later_start_follows_and_does_without_a_repository_that_is_away(
    tmp_path: Path, kit: Checkout
) -> None:
    remote = tmp_path / "publisher/remote.git"
    install(tmp_path / "box", f"file://{remote}@main")
    kit.commit_all("third")
    kit.git("push", "-q", "origin", "HEAD:main")
    install(tmp_path / "box", f"file://{remote}@main")
    assert code(tmp_path / "box") == kit.commit
    remote.rename(tmp_path / "moved.git")
    assert "using what is there" in install(tmp_path / "box", f"file://{remote}@main")


def test_a_commit_that_is_not_there_is_named(tmp_path: Path, kit: Checkout) -> None:
    missing = "0123456789abcdef0123456789abcdef01234567"
    log = install(tmp_path / "box", f"file://{tmp_path}/publisher/remote.git@{missing}")
    assert f"error: cannot fetch {missing}" in log
