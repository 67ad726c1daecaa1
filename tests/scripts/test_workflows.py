"""The forge's workflows are sound YAML and call what there is."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
by_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)


def steps(path: Path) -> list[dict[str, Any]]:
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    return [step for job in document["jobs"].values() for step in job["steps"]]


def commands(path: Path) -> str:
    return "\n".join(str(step["run"]) for step in steps(path) if "run" in step)


def test_there_is_one_for_changes_and_one_for_releases() -> None:
    assert [path.stem for path in WORKFLOWS] == ["ci", "release"]


@by_workflow
def test_it_has_what_a_forge_needs_and_few_rights(path: Path) -> None:
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert document[True]  # YAML reads `on` as a truth
    assert document["permissions"] == {"contents": "read"}
    for job in document["jobs"].values():
        assert job["runs-on"]
        assert job["timeout-minutes"] <= 120
        assert all(("run" in step) != ("uses" in step) for step in job["steps"])


@by_workflow
def test_it_calls_targets_and_scripts_that_exist(path: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    called = re.findall(r"(?:^|&& )make ([a-z-]+)", commands(path), re.MULTILINE)
    assert set(called) <= targets
    for script in re.findall(r"(?:scripts/[\w-]+\.sh|\.ci/\w+)", commands(path)):
        assert os.access(ROOT / script, os.X_OK)


@by_workflow
def test_its_commands_are_sound_shell(path: Path) -> None:
    for step in steps(path):
        if "run" in step:
            subprocess.run(["bash", "-n", "-c", step["run"]], check=True)


@by_workflow
def test_it_names_no_address_of_ours_and_nobody_elses_action(path: Path) -> None:
    used = [step["uses"] for step in steps(path) if "uses" in step]
    assert all(action.startswith("actions/") for action in used)
    assert "kinokit/kinokit" not in path.read_text()


def test_changes_run_what_ci_runs_and_a_tag_makes_a_release() -> None:
    change, tag = WORKFLOWS
    assert ".ci/run" in commands(change)
    for part in (
        "make release RELEASE_URL=",
        "make release-check",
        "RELEASE_NOTES.md",
        "scripts/push-images.sh",
    ):
        assert part in commands(tag)


def test_images_are_pushed_under_the_name_that_is_given(tmp_path: Path) -> None:
    docker = tmp_path / "docker"
    answers = '[ "$1" != image ] || echo "${5%:*}@sha256:0123"'
    docker.write_text(f'#!/bin/sh\necho "$@" >> "$0.log"\n{answers}\n')
    docker.chmod(0o755)
    done = subprocess.run(
        [str(ROOT / "scripts/push-images.sh"), "registry.example.org/me", "1.2.3"],
        env={**os.environ, "DOCKER": str(docker)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "ui registry.example.org/me/kinokit-ui@sha256:0123" in done.stdout.splitlines()
    assert "push -q registry.example.org/me/kinokit-ui:1.2.3" in Path(f"{docker}.log").read_text()
