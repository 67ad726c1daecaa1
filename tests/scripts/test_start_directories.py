"""Where scripts/start.sh puts things when it may not write where it wants: no root, or a read-only one."""

from __future__ import annotations

from pathlib import Path

from tests.scripts import start_script
from tests.support.waiting import wait_for

NOWHERE = "/proc/nowhere"  # not even root may write there
SHOWS = '#!/bin/sh\necho "data: ${KINOKIT_DATA_DIR:-the rule of the platform}"\nexec sleep 600\n'


def test_programs_go_to_the_volume_where_opt_is_read_only(tmp_path: Path) -> None:
    path = start_script.path_with(tmp_path, "perl")
    volume = tmp_path / "volume"
    start_script.installed(volume, SHOWS)  # by an earlier start
    env = {"KINOKIT_DATA_DIR": str(volume), "KINOKIT_HOME": NOWHERE, "KINOKIT_SOURCE": start_script.PACKAGE}
    with start_script.started(tmp_path, path, env) as box:
        wait_for(lambda: f"data: {volume}" in box.logs)
        assert f"{NOWHERE} cannot be written to: the programs go to {volume}/programs" in box.logs
        assert (volume / "logs/start.log").exists()


def test_the_directory_is_the_platforms_and_is_not_exported_over_it(tmp_path: Path) -> None:
    kit = start_script.installed(tmp_path, SHOWS)
    env = kit | {"PLATFORM": "vast", "DATA_DIRECTORY": f"{tmp_path}/disk/"}
    with start_script.started(tmp_path, start_script.path_with(tmp_path, "perl"), env) as box:
        wait_for(lambda: "data: the rule of the platform" in box.logs)
        assert (tmp_path / "disk/kinokit/logs/start.log").exists()


def test_without_any_volume_files_go_where_anybody_may_write_and_it_is_said(tmp_path: Path) -> None:
    kit = start_script.installed(tmp_path, SHOWS)
    with start_script.started(
        tmp_path, start_script.path_with(tmp_path, "perl"), kit | {"HOME": NOWHERE}
    ) as box:
        wait_for(lambda: f"data: {tmp_path}/tmp/kinokit" in box.logs)
        assert "are lost with this container" in box.logs


def test_a_directory_that_was_asked_for_is_not_replaced(tmp_path: Path) -> None:
    path = start_script.path_with(tmp_path, "perl")
    with start_script.started(tmp_path, path, {"KINOKIT_DATA_DIR": NOWHERE}) as box:
        box.wait_until_failed()
        page = box.get("/").text
        assert f"{NOWHERE} cannot be written to" in page
        assert "mount a volume and set KINOKIT_DATA_DIR to it" in page
