"""A file is replaced whole or not at all."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from bootstrap import files


def test_the_new_content_replaces_the_old_and_nothing_else_stays(tmp_path: Path) -> None:
    files.replace_text(tmp_path / "a.json", "old")
    files.replace_text(tmp_path / "a.json", "nöw", sync=True)
    assert (tmp_path / "a.json").read_bytes() == "nöw".encode()
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_secret_is_readable_by_its_owner_alone_from_the_start(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("of everybody")
    path.chmod(0o644)
    files.replace_text(path, "s3cret", mode=0o600)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_other_files_have_the_rights_that_the_user_gives_all(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        files.replace_text(tmp_path / "plan.json", "{}")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "plan.json").stat().st_mode) == 0o640


def test_an_error_leaves_the_old_file_and_no_part_of_the_new_one(tmp_path: Path) -> None:
    files.replace_text(tmp_path / "a", "old")
    with pytest.raises(ZeroDivisionError), files.replacing(tmp_path / "a") as part:
        part.write_text("half")
        raise ZeroDivisionError
    assert (tmp_path / "a").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_several_may_write_at_once_and_readers_see_whole_files(tmp_path: Path) -> None:
    path = tmp_path / "a"
    contents = [letter * 200_000 for letter in "abcd"]
    files.replace_text(path, contents[0])

    def write(content: str) -> None:
        for _ in range(20):
            files.replace_text(path, content)

    writers = [threading.Thread(target=write, args=(content,)) for content in contents]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        assert path.read_text() in contents
    assert [each.name for each in tmp_path.iterdir()] == ["a"]
