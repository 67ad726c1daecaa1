"""One volume, several boxes: what they share, what is each one's own, what others have left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bootstrap import data_directory, volume
from bootstrap.errors import KitError
from bootstrap.launch import location
from bootstrap.settings import Settings
from tests.bootstrap.platforms.environments import RUNPOD, SERVERLESS, VAST

HOLD = """
import sys, time
from pathlib import Path
from bootstrap import data_directory
lock = data_directory.occupy(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize(
    ("env", "own"),
    [
        (RUNPOD, "boxes/w3xyz"),
        (SERVERLESS, "boxes/w3xyz"),
        (VAST, "boxes/1234567"),
        ({"VAST_TCP_PORT_8000": "1", "VAST_CONTAINERLABEL": "C.12"}, "boxes/C.12"),
        ({"KINOKIT_BOX": "left"}, "boxes/left"),
        ({**RUNPOD, "KINOKIT_BOX": "left"}, "boxes/left"),
        ({"RUNPOD_POD_ID": "../../etc"}, "boxes/-..-etc"),  # no name leads out of the volume
        ({}, "."),
        ({"container": "podman"}, "."),
        ({"PLATFORM": "clore"}, "."),
    ],
)
def test_a_box_with_a_name_has_its_own_part_and_shares_the_models(
    tmp_path: Path, env: dict[str, str], own: str
) -> None:
    chosen = Settings(data_dir=tmp_path, platform=env.get("PLATFORM"))
    here = location.of(chosen, {"HOME": "/root", **env}, in_container=False)
    assert here.data_dir == tmp_path / own
    assert volume.models(here.data_dir) == tmp_path / "models"
    assert volume.cache(here.data_dir) == tmp_path / "cache"
    again = location.of(Settings(data_dir=here.data_dir), env, in_container=False)
    assert again.data_dir == here.data_dir  # the agent reads settings in which it is settled


def held(data_dir: Path) -> subprocess.Popen[str]:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(data_dir)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


def killed(holder: subprocess.Popen[str]) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.communicate(timeout=60)


def test_boxes_do_not_meet_and_one_that_restarts_finds_its_own(tmp_path: Path) -> None:
    left, right = volume.of_box(tmp_path, "left"), volume.of_box(tmp_path, "right")
    holder = held(left)
    try:
        with data_directory.occupy(right):
            tokens = [data_directory.keep_token(each / "token") for each in (left, right)]
            assert tokens[0] != tokens[1]
        with pytest.raises(KitError):  # the same box twice
            data_directory.occupy(left)
    finally:
        killed(holder)
    with data_directory.occupy(left):
        assert data_directory.keep_token(left / "token") == tokens[0]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["boxes", "models"]


def old_volume(top: Path) -> None:
    """As a kit left it that knew one box a volume."""
    data_directory.occupy(top).close()
    (top / "jobs/j1").mkdir(parents=True)
    (top / "jobs/j1/content-1.mp4").write_bytes(b"clip")
    (top / "jobs.db").write_bytes(b"queue")
    (top / "token").write_text("secret\n")


def test_the_first_box_takes_over_what_lies_at_the_top(tmp_path: Path) -> None:
    old_volume(tmp_path)
    box = volume.of_box(tmp_path, "w3xyz")
    box.mkdir(parents=True)
    (tmp_path / "jobs.db").rename(box / "jobs.db")  # a start that was killed came so far
    volume.adopt(box)
    assert (box / "jobs/j1/content-1.mp4").read_bytes() == b"clip"
    assert (box / "jobs.db").read_bytes() == b"queue"
    assert data_directory.keep_token(box / "token") == "secret"
    second = volume.of_box(tmp_path, "other")
    volume.adopt(second)
    assert not second.exists()


def test_nothing_is_taken_from_an_agent_that_runs_at_the_top_nor_by_a_box_without_a_name(
    tmp_path: Path,
) -> None:
    old_volume(tmp_path)
    holder = held(tmp_path)
    volume.adopt(volume.of_box(tmp_path, "w3xyz"))
    volume.adopt(tmp_path)
    killed(holder)
    assert (tmp_path / "token").read_text() == "secret\n"
    assert not (tmp_path / "boxes").exists()


def test_what_workers_left_is_swept_and_nothing_of_a_pod_or_of_one_that_runs(tmp_path: Path) -> None:
    day_ago = time.time() - volume.SWEPT_SECONDS - 60
    for name, short_lived, touched in (
        ("gone", True, day_ago),
        ("just-now", True, time.time()),
        ("busy", True, day_ago),
        ("pod", False, day_ago),
    ):
        box = volume.of_box(tmp_path, name)
        data_directory.occupy(box).close()
        volume.beat(box, short_lived=short_lived)
        os.utime(box / volume.ALIVE, (touched, touched))
    holder = held(volume.of_box(tmp_path, "busy"))
    mine = volume.of_box(tmp_path, "mine")
    data_directory.occupy(mine).close()
    assert volume.sweep(mine) == [volume.of_box(tmp_path, "gone")]
    killed(holder)
    assert [each.name for each in volume.boxes(tmp_path)] == ["busy", "just-now", "mine", "pod"]


def test_a_shell_without_the_boxs_variables_finds_the_one_that_runs(tmp_path: Path) -> None:
    data_directory.occupy(volume.of_box(tmp_path, "stopped")).close()
    holder = held(volume.of_box(tmp_path, "w3xyz"))
    found = location.of_running(Settings(data_dir=tmp_path), {"HOME": "/root"})
    killed(holder)
    assert found.data_dir == volume.of_box(tmp_path, "w3xyz")
    assert location.of_running(Settings(data_dir=tmp_path), {"HOME": "/root"}).data_dir == tmp_path
